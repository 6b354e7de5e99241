package discovery

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestBook(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known.json")
	if b, err := readCache(path); err != nil || len(b.Known) != 0 || len(b.Follow) != 0 {
		t.Errorf("without a file: %v, %v", b, err)
	}
	b := cache{Follow: []string{"web"}, Known: map[string][]entry{"web": {at("a", "i", time.Now())}, "old": {{Service: "old", ID: "x", Address: "10.0.0.2", Port: 1}}}}
	if err := b.write(path); err != nil {
		t.Fatal(err)
	}
	got, err := readCache(path)
	if err != nil {
		t.Fatal(err)
	}
	b.Known["web"][0].missing = time.Time{} // begins anew
	if !reflect.DeepEqual(b, got) {
		t.Errorf("wrote %v, read %v", b, got)
	}
	if list := got.instances(); len(list) != 1 || list[0].GetId() != "a" || list[0].GetPort() != 80 {
		t.Errorf("instances: %v", list)
	}
	for name, content := range map[string]string{
		"cut":     `{"known": {"web": [`,
		"service": `{"known": {"web": [{"service":"other","id":"a","address":"10.0.0.1","port":80}]}}`,
		"address": `{"known": {"web": [{"service":"web","id":"a","address":"nowhere","port":80}]}}`,
		"port":    `{"known": {"web": [{"service":"web","id":"a","address":"10.0.0.1","port":0}]}}`,
		"id":      `{"known": {"web": [{"service":"web","address":"10.0.0.1","port":1}]}}`,
		"large":   strings.Repeat(" ", maxCache+1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := readCache(path)
		if err == nil || !strings.Contains(err.Error(), path) || b.Known == nil || len(b.Known) != 0 {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
	if err := (cache{}).write(filepath.Join(t.TempDir(), "no", "such")); err == nil {
		t.Error("a book is written nowhere")
	}
	// A client begins all the same.
	c := New(Config{Consul: "127.0.0.1:1", StateFile: path})
	if len(c.Instances()) != 0 || c.Status().Reachable {
		t.Errorf("after a damaged book: %v, %v", c.Instances(), c.Status())
	}
}

func FuzzParseCache(f *testing.F) {
	f.Add([]byte(`{"follow":["web"],"known":{"web":[{"service":"web","id":"a","node":"n","address":"10.0.0.1","port":80,"incarnation":"i"}]}}`))
	f.Add([]byte(`{"known":{"web":null}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, err := parseCache(content)
		if err != nil {
			return
		}
		for service, entries := range b.Known {
			seen := map[string]bool{}
			for _, e := range entries {
				if e.Service != service || !e.valid() || seen[e.ID] {
					t.Errorf("accepted %+v of service %q", e, service)
				}
				seen[e.ID] = true
			}
		}
	})
}
