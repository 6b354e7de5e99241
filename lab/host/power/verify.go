package power

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNoMachine says that the hypervisor knows no such machine.
var ErrNoMachine = errors.New("there is no such machine")

// Called asks the hypervisor for the name of a machine of which Vagrant has taken note: ErrNoMachine when there is none. The name is empty where
// nothing is there to ask with.
func (v *Vagrant) Called(ctx context.Context, r Record) (name string, err error) {
	switch r.Provider {
	case "libvirt":
		name, err = v.toolOf(ctx, r.ID, "virsh", virshArgs("domname")...)
	case "virtualbox":
		if name, err = v.toolOf(ctx, r.ID, "VBoxManage", "showvminfo", idWord, "--machinereadable"); err == nil {
			name, err = parseVMName(name)
		}
	}
	switch {
	case err == nil:
		return name, nil
	case errors.Is(err, errNoTool):
		return "", nil
	case ctx.Err() == nil && unknownMachine(err.Error()):
		return "", ErrNoMachine
	}
	return "", fmt.Errorf("could not tell which machine Vagrant has for node %s: %w", r.Node, err)
}

// unknownMachine recognizes the hypervisors' word that there is no such machine. That they do not answer is another thing.
func unknownMachine(said string) bool {
	for _, sign := range []string{"failed to get domain", "Domain not found", "Could not find a registered machine", "VBOX_E_OBJECT_NOT_FOUND"} {
		if strings.Contains(said, sign) {
			return true
		}
	}
	return false
}

// parseVMName finds the line of `VBoxManage showvminfo --machinereadable` that tells the name.
func parseVMName(said string) (string, error) {
	for line := range strings.Lines(said) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "name="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("VBoxManage showvminfo tells no name")
}
