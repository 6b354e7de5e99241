// The original has nothing but imports: of every message of Envoy's interface, some 400 packages, so that a configuration of a proxy may hold any
// of them. A lab runs no proxy of Consul's. What the other files here need of Envoy they import themselves.

package xds
