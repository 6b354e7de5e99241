package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/lab/drill"
)

// The titles of all drills stand in one column, however long a drill's name is.
func TestDrillListHasColumns(t *testing.T) {
	all, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	if status := Main(t.Context(), App{In: strings.NewReader(""), Out: &out, Err: &said}, []string{"drill", "list"}); status != exitGood {
		t.Fatal(status, said.String())
	}
	columns := map[int]string{}
	for _, d := range all {
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "  "+d.ID+" ") {
				columns[strings.Index(line, d.Title)] = d.ID
			}
		}
	}
	if len(columns) != 1 {
		t.Errorf("titles begin in these columns: %v\n%s", columns, out.String())
	}
}
