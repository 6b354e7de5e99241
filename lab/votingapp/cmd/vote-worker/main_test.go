package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
)

func TestQueueHosts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		env      map[string]string
		want     []string
		complain string
	}{
		{"discovered", nil, nil, ""},
		{"one", map[string]string{"FROM_REDIS_HOST": "1", "TO_REDIS_HOST": "1"}, []string{"redis01"}, ""},
		{"range", map[string]string{"FROM_REDIS_HOST": "09", "TO_REDIS_HOST": "11"}, []string{"redis09", "redis10", "redis11"}, ""},
		{"addresses", map[string]string{"REDIS_ADDRS": "a:1,b:2", "FROM_REDIS_HOST": "x"}, []string{"a:1", "b:2"}, ""},
		{"half a range", map[string]string{"FROM_REDIS_HOST": "1"}, nil, "TO_REDIS_HOST is not set"},
		{"the other half", map[string]string{"TO_REDIS_HOST": "2"}, nil, "FROM_REDIS_HOST is not set"},
		{"backwards", map[string]string{"FROM_REDIS_HOST": "3", "TO_REDIS_HOST": "2"}, nil, "TO_REDIS_HOST: 2 is below FROM_REDIS_HOST"},
		{"no number", map[string]string{"FROM_REDIS_HOST": "one", "TO_REDIS_HOST": "2"}, nil, `FROM_REDIS_HOST="one"`},
		{"too many", map[string]string{"FROM_REDIS_HOST": "1", "TO_REDIS_HOST": "100"}, nil, `TO_REDIS_HOST="100"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := config.New(func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok }, os.ReadFile)
			got := queueHosts(env)
			err := env.Err()
			switch {
			case tt.complain == "" && (err != nil || !slices.Equal(got, tt.want)):
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			case tt.complain != "" && (err == nil || !strings.Contains(err.Error(), tt.complain)):
				t.Errorf("error %v, want one about %s", err, tt.complain)
			}
		})
	}
}
