package settings

// OpenOn opens a clone on a host whose VirtualBox has another networks.conf.
func OpenOn(dir string, getenv func(string) string, networksConf string) (*Lab, error) {
	return open(dir, getenv, networksConf)
}
