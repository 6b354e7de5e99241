//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
)

// The negative controls of the drills: one part of the lab is made faulty, and the drill must fail, for just that reason; that the same drill
// passes on the lab as it is, make test-long shows. A drill that cannot fail proves nothing.

// guilty demands that a drill failed by its ledger and by nothing else.
func guilty(t *testing.T, j *journal.Journal, of checker.Kind) {
	t.Helper()
	defer forget(t, j)
	if j.Result != journal.Failed || j.Verdict == nil {
		t.Fatalf("the drill %s, and had to fail: %v", j.Result, j.Reasons)
	}
	t.Logf("of %d acknowledged votes: %v", j.Verdict.Sent.Acknowledged, j.Verdict.Found)
	harmedOnlyBy(t, j.Verdict.Report, of)
	for _, reason := range j.Reasons {
		if !strings.HasPrefix(reason, "votes ") && !strings.HasPrefix(reason, "the ledger's verdict is") {
			t.Errorf("it failed for another reason, too: %s", reason)
		}
	}
}

// harmedOnlyBy demands that voters were harmed, and in one way only.
func harmedOnlyBy(t *testing.T, report checker.Report, of checker.Kind) {
	t.Helper()
	found := maps.Clone(report.Found)
	if of == checker.Lost {
		// What is lost of a voter who had voted before leaves that vote standing. Of the few that are lost at a time, all may be such.
		found[of] += found[checker.Stale]
		delete(found, checker.Stale)
	}
	if found[of] == 0 {
		t.Errorf("it is not guilty of %s", of)
	}
	delete(found, of)
	for _, kind := range checker.Violations() {
		if found[kind] > 0 {
			t.Errorf("it is guilty of %s, too", kind)
		}
	}
}

// forget removes the ledger of a promise that was broken on purpose, which `lab verify` would hold against the lab for ever.
func forget(t *testing.T, j *journal.Journal) {
	t.Helper()
	if j.Verdict == nil {
		return
	}
	for _, ledger := range j.Verdict.Ledgers {
		if err := os.Remove(ledger.Path); err != nil {
			t.Error(err)
		}
	}
}

// A Redis that keeps nothing on its disk crashes with votes in it.
func TestADrillFailsWithAForgetfulRedis(t *testing.T) {
	l := open(t)
	victim := l.redis(t, 1)
	if err := victim.ConfigSet(t.Context(), "appendonly", "no").Err(); err != nil {
		t.Fatal(err)
	}
	// The crash makes it as it was, but if it does not come to that.
	defer func() {
		if err := victim.ConfigSet(context.Background(), "appendonly", "yes").Err(); err != nil {
			t.Error(err)
		}
	}()
	guilty(t, l.drill(t, "--file", drillFile("redis-crash")), checker.Lost)
	l.waitReady(t)
}

// A worker that acknowledges before it commits is killed in between.
func TestADrillFailsWithAHastyWorker(t *testing.T) {
	l := open(t)
	defer l.disguise(t, disguise{
		node: "worker01", container: "worker01", image: "vote-worker:latest", program: "hasty-worker", file: "COPY hasty-worker /vote-worker",
	})()
	guilty(t, l.drill(t, "worker-kill"), checker.Lost)
}

// A frontend that puts votes in order by its own clock has a slow one.
func TestADrillFailsWithWallClockOrder(t *testing.T) {
	l := open(t)
	defer l.disguise(t, disguise{
		node: "frontend01", container: "frontend01", image: "web-vote-app:latest", program: "wall-clock-app", file: "COPY wall-clock-app /web-vote-app",
	})()
	guilty(t, l.drill(t, "--file", drillFile("clock-skew")), checker.Stale)
}

// A balancer that asks no more of a frontend than to take connections keeps one that cannot keep votes.
func TestADrillFailsWithoutHealthChecks(t *testing.T) {
	l := open(t)
	defer l.disguise(t, balancer("/option httpchk/d; /http-check/d"))()
	// Timed: what never happens is not waited for longer than the drill does. On a slow machine it may fail for other reasons, too. On one that
	// its host keeps from its processors such a drill decides nothing: there without times, which takes two minutes longer.
	d := l.run(t, slices.Concat(timed, []string{"redis-stop"})...)
	<-d.ended
	if strings.Contains(d.out.String()+d.err.String(), "kept from its processors") {
		t.Log("the host of this machine kept it from its processors: once more, without times")
		d = l.startDrill(t, "redis-stop")
	}
	j := d.end(t)
	if j.Result != journal.Failed || !strings.Contains(strings.Join(j.Reasons, "; "), "frontend01 leaves the balancer") {
		t.Errorf("the drill %s: %v", j.Result, j.Reasons)
	}
	if j.Verdict == nil || j.Verdict.Result != checker.Pass {
		t.Errorf("no vote had to be harmed: %+v", j.Verdict)
	}
}

// balancer is a balancer whose configuration a sed script has changed.
func balancer(edit string) disguise {
	return disguise{
		node: "interlock", container: "interlock", image: "haproxy:3.0",
		file: fmt.Sprintf(`ENTRYPOINT ["/bin/sh", "-c", "sed '%s' /usr/local/etc/haproxy/haproxy.cfg >/dev/shm/haproxy.cfg && exec haproxy -W -db -f /dev/shm/haproxy.cfg"]`, edit),
	}
}

// disguise is a container with another program under its name.
type disguise struct {
	node, container, image string
	// program is a folder below controls, whose program is put beside the Dockerfile; empty: none.
	program string
	// file is what the Dockerfile adds to the real image.
	file string
	// unwell: it is not taken for a healthy one.
	unwell bool
}

// disguise gives an image that is the real one's but for what is added to it the real one's name, and has the agent make the container anew,
// which takes it for the real one: that of the image's labels is all it looks at. The function that it returns puts the real one back.
func (l *lab) disguise(t *testing.T, d disguise) (undo func()) {
	t.Helper()
	if l.Provider != settings.ProviderDocker {
		t.Skip("how programs keep their promise does not depend on the machines, and no file gets onto a virtual one this way")
	}
	const folder = "/var/tmp/disguise"
	real := "real-" + d.image
	l.mustOnNode(t, d.node, "mkdir", "-p", folder)
	if d.program != "" {
		program := filepath.Join(t.TempDir(), d.program)
		build := exec.CommandContext(t.Context(), "go", "build", "-tags", "integration", "-trimpath", "-buildvcs=false", "-o", program, "./controls/"+d.program)
		system, arch, _ := strings.Cut(l.Platform(), "-")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, err := host(t.Context(), "docker", "cp", program, l.Name+"-"+d.node+":"+folder+"/"); err != nil {
			t.Fatal(err)
		}
	}
	// One that a killed test has left is the real one.
	l.mustOnNode(t, d.node, "sh", "-c", fmt.Sprintf("docker image inspect %s >/dev/null 2>&1 || docker tag %s %[1]s", real, d.image))
	l.mustOnNode(t, d.node, "sh", "-c", `printf 'FROM %s\n%s\n' "$1" "$2" >"$3/Dockerfile"`, "sh", real, d.file, folder)
	l.mustOnNode(t, d.node, "docker", "build", "-q", "-t", d.image, folder)
	built := l.mustOnNode(t, d.node, "docker", "inspect", "-f", "{{.Id}}", d.image)
	undo = func() {
		t.Helper()
		l.mustOnNode(t, d.node, "docker", "tag", real, d.image)
		l.renew(t, d.node, d.container)
		l.mustOnNode(t, d.node, "docker", "rmi", real, built)
		l.mustOnNode(t, d.node, "rm", "-rf", folder)
		l.waitReady(t)
	}
	l.renew(t, d.node, d.container)
	if !d.unwell {
		l.waitReady(t)
	}
	return undo
}

// renew has the agent make a container anew.
func (l *lab) renew(t *testing.T, node, name string) {
	t.Helper()
	before := l.mustOnNode(t, node, "docker", "inspect", "-f", "{{.Id}}", name)
	l.mustOnNode(t, node, "docker", "rm", "-f", name)
	waitFor(t, l.patience, "the agent has made "+name+" anew", func(ctx context.Context) error {
		after, err := l.onNode(ctx, node, "docker", "inspect", "-f", "{{.Id}} {{.State.Status}}", name)
		if err == nil && (!strings.HasSuffix(strings.TrimSpace(after), " running") || strings.HasPrefix(after, before)) {
			err = errors.New("it is " + after)
		}
		return err
	})
}
