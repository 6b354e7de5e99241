# frozen_string_literal: true

# Which variables of the environment the programs get that the Vagrantfile starts. The same is written in Go
# (lab/host/inherit), where it is told why; a test holds the two together. This file knows nothing of Vagrant.

module Swarmlab
  # What is let through.
  module Inherit
    PROXIES = %w[HTTP_PROXY http_proxy HTTPS_PROXY https_proxy FTP_PROXY ftp_proxy ALL_PROXY all_proxy].freeze
    NO_PROXIES = %w[NO_PROXY no_proxy].freeze
    NAMES = (PROXIES + NO_PROXIES + %w[
      PATH HOME USER LOGNAME SHELL TERM TZ LANG LANGUAGE TMPDIR TMP TEMP
      XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_RUNTIME_DIR XDG_STATE_HOME DBUS_SESSION_BUS_ADDRESS SSH_AUTH_SOCK
      ASDF_DATA_DIR ASDF_DIR GOENV_ROOT RBENV_ROOT
      DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG DOCKER_CERT_PATH DOCKER_TLS DOCKER_TLS_VERIFY LIBVIRT_DEFAULT_URI
      VAGRANT_HOME VBOX_INSTALL_PATH VBOX_MSI_INSTALL_PATH VBOX_USER_HOME
      VAGRANT_WSL_ENABLE_WINDOWS_ACCESS VAGRANT_WSL_WINDOWS_ACCESS_USER VAGRANT_WSL_WINDOWS_ACCESS_USER_HOME_PATH
      SSL_CERT_DIR SSL_CERT_FILE CURL_CA_BUNDLE NIX_SSL_CERT_FILE VAGRANT_CLOUD_TOKEN VAGRANT_SERVER_URL
      GOAUTH GOCACHE GOINSECURE GOMODCACHE GONOPROXY GONOSUMDB GOPATH GOPRIVATE GOPROXY GOSUMDB GOTMPDIR
      PROVIDER SWARMLAB_TIMESCALE
      ALLUSERSPROFILE APPDATA COMMONPROGRAMFILES COMMONPROGRAMFILES(X86) COMSPEC HOMEDRIVE HOMEPATH LOCALAPPDATA
      NUMBER_OF_PROCESSORS OS PATHEXT PROCESSOR_ARCHITECTURE PROGRAMDATA PROGRAMFILES PROGRAMFILES(X86)
      PROGRAMW6432 PUBLIC SYSTEMDRIVE SYSTEMROOT USERDOMAIN USERNAME USERPROFILE WINDIR
      WSLENV WSL_DISTRO_NAME WSL_INTEROP
    ]).freeze
    PREFIXES = %w[LAB_ LC_].freeze
    # What a command that holds the clone's lock sets for what it starts: that it does, and an open file by which that
    # is known to be at work. It is never handed on from elsewhere.
    LOCKS = [HELD = 'LAB_LOCK_HELD', HELD_FILE = 'LAB_LOCK_FILE'].freeze
    # The places on this host, to which no proxy leads.
    HERE = %w[127.0.0.1 ::1 localhost].freeze
    # Of what is kept back, that which Vagrant's own child processes must not get either. The rest may be Vagrant's own.
    HARMFUL = /\A(?:
      (?:DOCKER|BUILDKIT|BUILDX|COMPOSE|GIT)_ | MAKE |
      (?:MFLAGS|GNUMAKEFLAGS|BASH_ENV|ENV|CDPATH|SHELLOPTS|BASHOPTS|TAR_OPTIONS|GREP_OPTIONS|POSIXLY_CORRECT)\z
    )/x.freeze

    # What a program gets.
    def self.environ(env = ENV)
      given = env.to_h.select { |name, _| through?(name) && !NO_PROXIES.include?(name) }
      given.values_at(*PROXIES).join.empty? ? given : given.merge(exceptions(env))
    end

    # Takes away from this process what would change the tools that Vagrant itself starts.
    def self.clean(env = ENV)
      env.to_h.each_key { |name| env.delete(name) if name.match?(HARMFUL) && !through?(name) }
    end

    # For whom a proxy is not.
    def self.exceptions(env)
      asked = env.values_at(*NO_PROXIES).map(&:to_s).find { |value| !value.empty? }.to_s
      places = (asked.split(',').map(&:strip).reject(&:empty?) + HERE).uniq
      NO_PROXIES.to_h { |name| [name, places.join(',')] }
    end
    private_class_method :exceptions

    def self.through?(name)
      !LOCKS.include?(name) && (NAMES.include?(name) || name.start_with?(*PREFIXES))
    end
    private_class_method :through?
  end
end
