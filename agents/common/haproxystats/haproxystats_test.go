package haproxystats

import (
	"slices"
	"strings"
	"testing"
)

const header = "# pxname,svname,qcur,status,\n"

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		page string
		want []Server
		err  string
	}{
		"both":              {header + "other,FRONTEND,,OPEN,\napp,f1,0,UP,\napp,f2,0,UP 1/2,\napp,BACKEND,0,UP,\n", []Server{{"f1", true}, {"f2", true}}, ""},
		"one":               {header + "app,f1,0,DOWN,\napp,f2,0,UP,\n", []Server{{"f1", false}, {"f2", true}}, ""},
		"on its way up":     {header + "app,f1,0,DOWN 1/2,\n", []Server{{"f1", false}}, ""},
		"another backend":   {header + "other,f1,0,UP,\n", nil, ""},
		"no server":         {header + "app,BACKEND,0,UP,\n", nil, ""},
		"no name":           {header + "app,,0,UP,\n", nil, ""},
		"a row too short":   {header + "app,f1\n", nil, ""},
		"more columns":      {"# pxname,new,svname,qcur,newer,status,\napp,1,f1,0,2,UP,\n", []Server{{"f1", true}}, ""},
		"a web page":        {"<html>", nil, "no table of statistics"},
		"another table":     {"# a,b\n1,2\n", nil, "no column pxname"},
		"an empty table":    {"# ", nil, "is empty"},
		"cut off in quotes": {header + "\"", nil, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(c.page, "app")
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(header + "web-vote-app,f1,0,UP,\n"))
	f.Add([]byte("# pxname,svname,status\n\"web-vote-app\"\n"))
	f.Fuzz(func(t *testing.T, page []byte) {
		servers, err := Parse(string(page), "web-vote-app")
		if err != nil && len(servers) > 0 {
			t.Errorf("an error and servers: %v, %v", servers, err)
		}
		for _, s := range servers {
			if s.Name == "" || !strings.Contains(string(page), "web-vote-app") {
				t.Errorf("a server out of nothing: %+v", s)
			}
		}
	})
}
