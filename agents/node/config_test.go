package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

const goodConfig = `lab: swarmlab
subnet: 192.168.33.0/24
stage: application
node: frontend02
listen: 0.0.0.0:7400
nodes:
- name: manager
  role: manager
  address: 192.168.33.11
  ordinal: 1
- name: frontend01
  role: frontend
  address: 192.168.33.20
  ordinal: 1
- {name: frontend02, role: frontend, address: 192.168.33.21, ordinal: 2}
`

func TestParseConfig(t *testing.T) {
	config, err := ParseConfig([]byte(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	if config.Lab != "swarmlab" || config.Stage != rolev1.Stage_STAGE_APPLICATION || config.Self.GetName() != "frontend02" ||
		config.Self.GetOrdinal() != 2 || len(config.Nodes) != 3 || config.Manager().GetAddress() != "192.168.33.11" {
		t.Errorf("got %+v", config)
	}
}

func TestParseConfigErrors(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           []string
	}{
		{"lab", "lab: swarmlab", "lab: Swarm Lab", []string{"line 1", "no name of a lab"}},
		{"no lab", "lab: swarmlab\n", "", []string{"lab", "missing"}},
		{"subnet", "192.168.33.0/24", "192.168.33.0", []string{"line 2", "no IPv4 subnet"}},
		{"stage", "stage: application", "stage: final", []string{"line 3", `"final" is no stage`, "application"}},
		{"stage in capitals", "stage: application", "stage: APPLICATION", []string{"line 3"}},
		{"self", "node: frontend02", "node: frontend03", []string{"line 4", `"frontend03", is not among the nodes`}},
		{"listen", "0.0.0.0:7400", "7400", []string{"line 5", "no address with a port"}},
		{"name", "name: frontend01", "name: Frontend_01", []string{"line 11", "no name of a node"}},
		{"role", "role: frontend\n", "role: ../frontend\n", []string{"line 12", "no name of a role"}},
		{"address", "address: 192.168.33.20", "address: 192.168.34.20", []string{"line 13", "no address in 192.168.33.0/24"}},
		{"no address", "  address: 192.168.33.20\n", "", []string{"nodes[1].address", "missing"}},
		{"two of an address", "192.168.33.21", "192.168.33.20", []string{"line 15", "two nodes have the address"}},
		{"two of a name", "name: frontend01", "name: manager", []string{"line 11", "two nodes manager"}},
		{"two of an ordinal", "ordinal: 2", "ordinal: 1", []string{"line 15", "two nodes are number 1 of role frontend"}},
		{"ordinal 0", "ordinal: 2", "ordinal: 0", []string{"line 15", "start at 1"}},
		{"ordinal a word", "ordinal: 2", "ordinal: two", []string{"15:"}},
		{"no manager", "role: manager", "role: other", []string{"line 7", "none of the nodes has the role manager"}},
		{"unknown key", "stage: application", "stages: application", []string{"3:", "stages"}},
		{"no YAML", "stage: application", "stage: [application", []string{"[4:1]", "must be specified"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(goodConfig, tt.old, tt.new, 1)
			if text == goodConfig {
				t.Fatal("the test changes nothing")
			}
			_, err := ParseConfig([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := ParseConfig(make([]byte, maxConfig+1)); err == nil {
		t.Error("accepted a megabyte")
	}
	if _, err := ParseConfig(nil); err == nil {
		t.Error("accepted an empty file")
	}
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if _, err := ReadConfig(path); err == nil || !strings.Contains(err.Error(), "vagrant provision") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("lab: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("nodes: [{name: a}]"))
	f.Add([]byte("lab: &a [*a]"))
	f.Add([]byte("nodes:\n- &x {name: manager, role: manager, address: 1.1.1.1, ordinal: 1}\n- *x\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		config, err := ParseConfig(content)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error that says nothing")
			}
			return
		}
		if config.Self == nil || config.Manager() == nil || config.Stage == 0 || !config.Subnet.IsValid() {
			t.Errorf("accepted %+v", config)
		}
	})
}

func TestStageNames(t *testing.T) {
	for number := range rolev1.Stage_name {
		stage := rolev1.Stage(number)
		got, err := ParseStage(StageName(stage))
		if stage == rolev1.Stage_STAGE_UNSPECIFIED {
			if err == nil {
				t.Errorf("%q is no stage", StageName(stage))
			}
			continue
		}
		if err != nil || got != stage {
			t.Errorf("%v: %v, %v", stage, got, err)
		}
	}
}
