package doctor

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestKVMDevice: a file that is not KVM's is said to be none.
func TestKVMDevice(t *testing.T) {
	t.Parallel()
	if opened, trouble := tryKVM("/dev/null"); !opened || trouble == nil || !strings.Contains(trouble.Error(), "not KVM's") {
		t.Errorf("%t %v", opened, trouble)
	}
	if opened, trouble := tryKVM(filepath.Join(t.TempDir(), "kvm")); opened || !errors.Is(trouble, fs.ErrNotExist) {
		t.Errorf("%t %v", opened, trouble)
	}
}
