// The original has nothing but imports, as that of agent/xds.

package troubleshoot
