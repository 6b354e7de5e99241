package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestOwnerHint(t *testing.T) {
	denied := func(path string) error {
		return fmt.Errorf("open a ledger: %w", &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission})
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{denied("/home/ann/swarmlab/.lab/settings.json"), true},
		{denied(".lab/ledgers/0123456789ab.ledger"), true},
		{denied("/etc/shadow"), false},
		{denied("/home/ann/my.lab/mine.yaml"), false},
		{&fs.PathError{Op: "open", Path: ".lab/settings.json", Err: fs.ErrNotExist}, false},
		{errors.New("permission denied"), false},
	} {
		if got := ownerHint(c.err); (got != "") != c.want {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}
