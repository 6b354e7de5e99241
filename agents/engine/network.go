package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// Network is a network as this engine knows it. A swarm's overlay shows on a worker only while a container is on it.
type Network struct {
	ID         string
	Name       string
	Overlay    bool
	Attachable bool
	Labels     map[string]string
}

// Networks returns the networks that this engine knows.
func (e *Engine) Networks(ctx context.Context) ([]Network, error) {
	list, err := e.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, failed("list the networks", "", err)
	}
	out := make([]Network, 0, len(list))
	for _, n := range list {
		out = append(out, Network{
			ID: n.ID, Name: n.Name, Overlay: n.Driver == "overlay" && !n.Ingress, Attachable: n.Attachable, Labels: n.Labels,
		})
	}
	return out, nil
}

// CreateOverlay creates an attachable overlay network for the whole swarm; only a swarm manager can. An mtu of 0 leaves
// the driver's default.
func (e *Engine) CreateOverlay(ctx context.Context, name string, mtu string, labels map[string]string) error {
	options := network.CreateOptions{Driver: "overlay", Scope: "swarm", Attachable: true, Labels: labels}
	if mtu != "" {
		options.Options = map[string]string{"com.docker.network.driver.mtu": mtu}
	}
	_, err := e.api.NetworkCreate(ctx, name, options)
	return failed("create network", name, err)
}

// RemoveNetwork removes a network; one in use is an error.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	return failed("remove network", name, e.api.NetworkRemove(ctx, name))
}

// Connect attaches a container to a network.
func (e *Engine) Connect(ctx context.Context, id string, to Attachment) error {
	err := e.api.NetworkConnect(ctx, to.Network, id, &network.EndpointSettings{Aliases: to.Aliases})
	return failed("connect container", id+" to "+to.Network, err)
}

// Disconnect takes a container off a network, also when the network's driver objects. A container that is not on it is
// ErrNotFound.
func (e *Engine) Disconnect(ctx context.Context, id, from string) error {
	err := e.api.NetworkDisconnect(ctx, from, id, true)
	if err != nil && strings.Contains(err.Error(), "is not connected to") {
		// The engine has no status of its own for this.
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return failed("disconnect container", id+" from "+from, err)
}

// CreateVolume creates a named volume; one that exists is left as it is.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	return failed("create volume", name, err)
}

// Volumes returns the names of the volumes that carry a label with a value.
func (e *Engine) Volumes(ctx context.Context, label, value string) ([]string, error) {
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", label+"="+value))})
	if err != nil {
		return nil, failed("list the volumes", "", err)
	}
	names := make([]string, 0, len(list.Volumes))
	for _, v := range list.Volumes {
		names = append(names, v.Name)
	}
	return names, nil
}

// VolumeFolder returns where on the node a volume's data lie.
func (e *Engine) VolumeFolder(ctx context.Context, name string) (string, error) {
	v, err := e.api.VolumeInspect(ctx, name)
	return v.Mountpoint, failed("inspect volume", name, err)
}

// RemoveVolume removes a volume and its data; one in use is ErrConflict.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	return failed("remove volume", name, e.api.VolumeRemove(ctx, name, false))
}
