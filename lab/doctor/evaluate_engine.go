package doctor

import (
	"errors"
	"slices"
	"strings"
)

// The first engine that can give a container a cgroup namespace of its own, which a node's systemd needs.
func oldestEngine() version { return version{20, 10} }

const engineDocs = "https://docs.docker.com/engine/install/"

func (j *evaluation) engine() {
	if !j.containerNodes() {
		j.skip("engine", "the nodes are virtual machines (%s): no engine is needed on this host", j.Settings.Provider)
		return
	}
	e, known := j.Engine.Get()
	if !known {
		j.noEngine(j.Engine.Err())
		return
	}
	v, ok := parseVersion(e.ServerVersion)
	if ok && v.less(oldestEngine()) {
		j.block("engine", "upgrade it: "+engineDocs, "Docker Engine %s is too old: nodes need 20.10 or later", e.ServerVersion)
		return
	}
	if e.OSType != "" && e.OSType != "linux" {
		j.block("engine", "switch Docker Desktop to Linux containers", "the engine runs %s containers, and nodes are Linux containers", e.OSType)
		return
	}
	j.ok("engine", "Docker Engine %s on %s answers", e.ServerVersion, e.OperatingSystem)
	j.endpoint()
	j.security(e)
	j.storage(e)
	j.cgroup(e)
}

func (j *evaluation) noEngine(err error) {
	switch {
	case errors.Is(err, ErrMissing):
		fix := engineDocs
		switch {
		case j.Host.OS == "darwin":
			fix = "brew install docker colima && colima start --cpu 2 --memory 4"
		case j.Host.Debian:
			fix = "make prerequisites"
		}
		j.block("engine", fix, "there is no docker command: the nodes are containers and need a Docker engine")
	case errors.Is(err, ErrPermission):
		j.block("engine", "sudo usermod -aG docker \"$(id -un)\" && newgrp docker",
			"the Docker engine does not let this user in: %s", reason(err))
	case errors.Is(err, ErrStopped):
		j.block("engine", j.startEngine(), "the Docker engine is not running: %s", reason(err))
	case errors.Is(err, ErrNotDocker):
		j.block("engine", "install Docker Engine ("+engineDocs+"), or let DOCKER_HOST name one",
			"something else answers to the docker command (Podman?), and nodes need a Docker engine: %s", reason(err))
	case errors.Is(err, ErrNoAnswer):
		// A host that is busy answers late; what hangs for good shows when the lab is brought up.
		j.fail("engine", "wait until this host has less to do; if it goes on: "+j.restartEngine(),
			"could not tell whether the Docker engine is fit: %s; this host is overloaded, or the engine hangs", reason(err))
		j.findings[len(j.findings)-1].Unknown = true
	default:
		j.block("engine", j.restartEngine(), "the Docker engine fails: %s", reason(err))
	}
}

func (j *evaluation) startEngine() string {
	switch {
	case j.Host.OS == "darwin":
		return "open -a Docker || colima start"
	case j.Host.OS == "windows":
		return "start Docker Desktop"
	case j.Host.Systemd:
		return j.sudo("systemctl enable --now docker")
	}
	return j.sudo("service docker start")
}

func (j *evaluation) restartEngine() string {
	if j.Host.OS == "linux" && j.Host.Systemd {
		return j.sudo("systemctl restart docker")
	}
	if j.Host.OS == "linux" {
		return j.sudo("service docker restart")
	}
	return "restart Docker Desktop, or: colima restart"
}

// endpoint: nodes mount folders of the clone, and their ports are used on 127.0.0.1, so the engine must be at home.
func (j *evaluation) endpoint() {
	at, known := j.Endpoint.Get()
	if !known || strings.HasPrefix(at, "unix://") || strings.HasPrefix(at, "npipe://") || at == "" {
		return
	}
	for _, here := range []string{"tcp://127.", "tcp://localhost", "tcp://[::1]"} {
		if strings.HasPrefix(at, here) {
			j.warn("endpoint", "unset DOCKER_HOST; docker context use default",
				"docker talks to %s: if that is a tunnel to another machine, nodes cannot mount this clone's folders", at)
			return
		}
	}
	j.block("endpoint", "unset DOCKER_HOST; docker context use default",
		"docker talks to %s, another machine: nodes could not mount this clone's folders, and their ports would be there", at)
}

func (j *evaluation) security(e Engine) {
	switch {
	case slices.Contains(e.SecurityOptions, "name=rootless"):
		j.warn("engine", "docker context use default", "the engine is rootless: nodes were never seen to work there; use one that runs as root")
	case slices.ContainsFunc(e.SecurityOptions, func(s string) bool { return strings.HasPrefix(s, "name=userns") }):
		j.warn("engine", "remove userns-remap from /etc/docker/daemon.json and restart the engine",
			"the engine remaps users: nodes were never seen to work so")
	}
}

func (j *evaluation) storage(e Engine) {
	const check = "storage"
	status := map[string]string{}
	for _, pair := range e.DriverStatus {
		status[pair[0]] = pair[1]
	}
	const edit = `in /etc/docker/daemon.json set "storage-driver": "overlay2", and restart the engine (its images are then to be fetched anew)`
	switch {
	case status["Supports d_type"] == "false":
		j.block(check, "move the engine's data to ext4, or to xfs made with ftype=1 (\"data-root\" in /etc/docker/daemon.json)",
			"%s is on a file system without d_type: the nodes' own engines cannot keep images there", e.DockerRootDir)
	case e.Driver == "vfs":
		j.warn(check, edit, "the engine's storage driver is vfs, which copies every layer whole: slow, and many times the disk space")
	case e.Driver == "devicemapper" || e.Driver == "aufs" || e.Driver == "overlay":
		j.warn(check, edit, "the engine's storage driver %s is no longer supported by Docker", e.Driver)
	default:
		j.ok(check, "storage driver %s", e.Driver)
	}
}

func (j *evaluation) cgroup(e Engine) {
	const check = "cgroup"
	switch {
	case e.CgroupDriver == "none":
		j.block(check, "use an engine that runs as root", "the engine cannot use cgroups, and the nodes' systemd needs them")
	case e.CgroupVersion == "1" || e.CgroupVersion == "2":
		j.ok(check, "cgroup v%s", e.CgroupVersion)
	default:
		j.skip(check, "the engine does not say which cgroup version it has")
	}
}
