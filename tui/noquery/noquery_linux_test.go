package noquery_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/tui/noquery"
)

// shows has this binary show CI, before and after it is given back.
const shows = "SWARMLAB_SHOWS_CI"

func TestMain(m *testing.M) {
	if os.Getenv(shows) == "" {
		os.Exit(m.Run())
	}
	for range 2 {
		value, is := os.LookupEnv("CI")
		fmt.Printf("%s%s\n", map[bool]string{true: "is ", false: "is not "}[is], value)
		noquery.Restore()
	}
}

// While packages are initialized nothing is a terminal; main sees the environment as it was given.
func TestRestore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		want    string
	}{
		"not set":     {nil, "is true\nis not \n"},
		"empty":       {[]string{"CI="}, "is true\nis \n"},
		"set":         {[]string{"CI=woodpecker"}, "is true\nis woodpecker\n"},
		"set to no":   {[]string{"CI=false"}, "is true\nis false\n"},
		"another one": {[]string{"CIA=yes"}, "is true\nis not \n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "CI=") }), append(tt.environ, shows+"=1")...)
			out, err := cmd.Output()
			if err != nil || string(out) != tt.want {
				t.Errorf("got %q, %v; want %q", out, err, tt.want)
			}
		})
	}
}
