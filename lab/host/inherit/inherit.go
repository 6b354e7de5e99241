// Package inherit says which variables of an environment the programs get that lab starts.
//
// What stands in somebody's shell must not turn a tool on something else: VAGRANT_CWD has Vagrant work in another project, MAKEFLAGS has make only
// print what it would do, BASH_ENV runs a script before each of ours. So it is a list of what is let through, not of what is kept back: where
// a user's own things are (home, engine, certificates, caches), how they are reached (proxies, the ssh agent), and the lab's own settings. The
// Vagrantfile does the same (vagrant/inherit.rb); a test holds the two together.
//
// The package knows names, and neither starts nor reads anything.
package inherit

import (
	"slices"
	"strings"
)

// Names returns the variables that are let through.
func Names() []string {
	return slices.Concat(
		// Where things are, and in which language they talk.
		[]string{
			"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "TMPDIR", "TMP", "TEMP",
			"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK",
		},
		// Where a version manager keeps the tools that stand on the path.
		[]string{"ASDF_DATA_DIR", "ASDF_DIR", "GOENV_ROOT", "RBENV_ROOT"},
		// Which engine, which hypervisor, and whose Vagrant.
		[]string{
			"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "LIBVIRT_DEFAULT_URI",
			"VAGRANT_HOME", "VBOX_INSTALL_PATH", "VBOX_MSI_INSTALL_PATH", "VBOX_USER_HOME",
			"VAGRANT_WSL_ENABLE_WINDOWS_ACCESS", "VAGRANT_WSL_WINDOWS_ACCESS_USER", "VAGRANT_WSL_WINDOWS_ACCESS_USER_HOME_PATH",
		},
		// How downloads are made.
		Proxies(), NoProxies(),
		[]string{
			"SSL_CERT_DIR", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NIX_SSL_CERT_FILE", "VAGRANT_CLOUD_TOKEN", "VAGRANT_SERVER_URL",
			"GOAUTH", "GOCACHE", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOPATH", "GOPRIVATE", "GOPROXY", "GOSUMDB", "GOTMPDIR",
		},
		// The lab's own.
		[]string{"PROVIDER", "SWARMLAB_TIMESCALE"},
		// Windows, without which no program starts there, and Linux within it.
		[]string{
			"ALLUSERSPROFILE", "APPDATA", "COMMONPROGRAMFILES", "COMMONPROGRAMFILES(X86)", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA",
			"NUMBER_OF_PROCESSORS", "OS", "PATHEXT", "PROCESSOR_ARCHITECTURE", "PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)",
			"PROGRAMW6432", "PUBLIC", "SYSTEMDRIVE", "SYSTEMROOT", "USERDOMAIN", "USERNAME", "USERPROFILE", "WINDIR",
			"WSLENV", "WSL_DISTRO_NAME", "WSL_INTEROP",
		},
	)
}

// Prefixes returns the beginnings of names that are let through: what is set for all of a kind.
func Prefixes() []string { return []string{"LAB_", "LC_"} }

// What a command that holds the clone's lock sets for what it starts. It is never handed on from elsewhere: whoever has it takes the lab to be locked.
const (
	Held = "LAB_LOCK_HELD"
	// HeldFile is the number of an open file, by which what was started is known to be at work.
	HeldFile = "LAB_LOCK_FILE"
)

// Proxies returns the variables that say through whom downloads go.
func Proxies() []string {
	return []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "ALL_PROXY", "all_proxy"}
}

// NoProxies returns the variables that say to whom no proxy leads.
func NoProxies() []string { return []string{"NO_PROXY", "no_proxy"} }

// Here returns the places on this host, to which no proxy leads.
func Here() []string { return []string{"127.0.0.1", "::1", "localhost"} }

// Environ returns what of an environment a program gets, with additions, which win. Where there is a proxy, it is not for this host.
func Environ(environ []string, additions ...string) []string {
	var given []string
	proxy, none := false, ""
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || !through(name) {
			continue
		}
		switch {
		case slices.Contains(Proxies(), name):
			proxy = proxy || value != ""
		case slices.Contains(NoProxies(), name):
			if none == "" {
				none = value
			}
			continue
		}
		given = append(given, entry)
	}
	if proxy {
		for _, name := range NoProxies() {
			given = append(given, name+"="+Except(none, Here()...))
		}
	}
	return append(given, additions...)
}

// ProxiesOf returns the variables of an environment that say how downloads are made through a proxy.
func ProxiesOf(environ []string) []string {
	var found []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value != "" && (slices.Contains(Proxies(), name) || slices.Contains(NoProxies(), name)) {
			found = append(found, entry)
		}
	}
	return found
}

// Except returns the value of NO_PROXY with these places added.
func Except(none string, places ...string) string {
	var all []string
	for _, place := range append(strings.Split(none, ","), places...) {
		if place = strings.TrimSpace(place); place != "" && !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	return strings.Join(all, ",")
}

// through: the variable is let through. Windows does not tell names apart by their letters' case.
func through(name string) bool {
	if name == Held || name == HeldFile {
		return false
	}
	if slices.Contains(Names(), name) || foldsCase && slices.ContainsFunc(Names(), func(n string) bool { return strings.EqualFold(n, name) }) {
		return true
	}
	return slices.ContainsFunc(Prefixes(), func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
