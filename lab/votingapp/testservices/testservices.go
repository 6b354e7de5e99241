// Package testservices starts a real Redis and a real Postgres for tests: as containers of the lab's own images, or, where there are none,
// as processes of the programs that the machine has. A test that finds neither is skipped with the reason, or fails if
// LAB_REQUIRE_SERVICES is 1. With -short every test that wants one is skipped.
//
// Everything started here ends with the test, and data lies in directories or containers of the test's own. It listens on 127.0.0.1 only, on the
// host's own network where the engine can do that: the engine's proxy between host and container costs as much as a service.
package testservices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
)

const (
	redisImage    = "redis:8.0"
	postgresImage = "postgres:17"
	// Password is the password of whatever is started here.
	Password = "correct horse"

	startTimeout = 5 * time.Minute
	patience     = time.Minute
)

// Label is on every container and volume of this process's tests.
var Label = fmt.Sprintf("swarmlab.test=%d", os.Getpid())

// Discard removes the containers and volumes of this process's tests: for a process that is interrupted, and so ends no test.
func Discard() error {
	var errs []error
	for _, kind := range [][2][]string{
		{{"docker", "ps", "-aq"}, {"docker", "rm", "-f", "-v"}},
		{{"docker", "volume", "ls", "-q"}, {"docker", "volume", "rm"}},
	} {
		ids, err := command(append(kind[0], "--filter", "label="+Label)...).Output()
		if err == nil && len(ids) > 0 {
			err = command(append(kind[1], strings.Fields(string(ids))...)...).Run()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", strings.Join(kind[1], " "), err))
		}
	}
	return errors.Join(errs...)
}

// unavailable ends a test that has nothing to run on.
func unavailable(t testing.TB, what string, reasons ...error) {
	t.Helper()
	message := fmt.Sprintf("no %s to test with: %v", what, errors.Join(reasons...))
	if os.Getenv("LAB_REQUIRE_SERVICES") == "1" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// Redis is a Redis that keeps what it acknowledged, as the lab's do.
type Redis struct {
	Addr   string
	server server
}

// server is something that was started: a container or a process.
type server interface {
	// signal sends a signal, as KILL, STOP or CONT.
	signal(t testing.TB, name string)
	// restart starts it again, with its data, after it ended.
	restart(t testing.TB)
	pid(t testing.TB) int
}

// StartRedis starts one.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	args := redisSettings()
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	r := &Redis{Addr: addr}
	noImage := haveImage(t, redisImage, "redis")
	if noImage == nil {
		r.server = startContainer(t, redisContainer(t, addr, args))
	} else {
		path, err := exec.LookPath("redis-server")
		if err != nil {
			unavailable(t, "Redis", noImage, err)
		}
		r.server = startProcess(t, path, append(args, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir())...)
	}
	r.Wait(t)
	return r
}

func redisSettings() []string {
	return []string{
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "", "--requirepass", Password,
	}
}

// Disk is a small filesystem for the data of one service. It needs containers.
type Disk struct {
	volume string
	holder *container
}

// newDisk makes one of so many bytes, at /data in containers that are given mount.
func newDisk(t testing.TB, image string, size int) *Disk {
	t.Helper()
	d := &Disk{volume: fmt.Sprintf("swarmlab-test-%d", time.Now().UnixNano())}
	if out, err := command("docker", "volume", "create", "--label", Label, "--opt", "type=tmpfs", "--opt", "device=tmpfs",
		"--opt", fmt.Sprintf("o=size=%d,mode=1777", size), d.volume).CombinedOutput(); err != nil {
		t.Fatalf("docker volume create: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := command("docker", "volume", "rm", d.volume).CombinedOutput(); err != nil {
			t.Errorf("docker volume rm: %v: %s", err, out)
		}
	})
	// A filesystem in memory is gone when nobody uses it any more: somebody stays.
	d.holder = startContainer(t, slices.Concat([]string{"--network", "none", "--entrypoint", "sleep"}, d.mount(), []string{image, "86400"}))
	return d
}

func (d *Disk) mount() []string { return []string{"-v", d.volume + ":/data"} }

// Fill takes all the space that is left.
func (d *Disk) Fill(t testing.TB) {
	t.Helper()
	out, err := command("docker", "exec", d.holder.id, "sh", "-c", "cat /dev/zero > /data/filler").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "No space left") {
		t.Fatalf("the disk is not full: %v: %s", err, out)
	}
}

// Free gives the space back.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if out, err := command("docker", "exec", d.holder.id, "rm", "/data/filler").CombinedOutput(); err != nil {
		t.Fatalf("docker exec rm: %v: %s", err, out)
	}
}

// Append writes at the end of a file below /data, behind the back of whoever keeps it.
func (d *Disk) Append(t testing.TB, path string, content []byte) {
	t.Helper()
	cmd := command("docker", "exec", "-i", d.holder.id, "sh", "-c", `cat >>"/data/$1"`, "sh", path)
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker exec cat: %v: %s", err, out)
	}
}

// StartRedisOnDisk starts a Redis on a filesystem of its own, of so many bytes; before are further arguments of docker run.
func StartRedisOnDisk(t testing.TB, size int, before ...string) (*Redis, *Disk) {
	t.Helper()
	if err := haveImage(t, redisImage, "redis"); err != nil {
		unavailable(t, "Redis in a container", err)
	}
	d := newDisk(t, redisImage, size)
	r := &Redis{Addr: freeAddr(t)}
	r.server = startContainer(t, redisContainer(t, r.Addr, redisSettings(), append(d.mount(), before...)...))
	r.Wait(t)
	return r, d
}

// WaitEnd waits until it has ended by itself, as it does when it notices that its disk is full: with every write synced, it could neither
// keep its promise nor take back what it already did. It needs containers.
func (r *Redis) WaitEnd(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "wait", r.server.(*container).id).CombinedOutput(); err != nil {
		t.Fatalf("Redis goes on: %v: %s", err, out)
	}
}

// redisContainer gives the arguments of docker run for a Redis at addr; before are further ones that go before the image.
func redisContainer(t testing.TB, addr string, args []string, before ...string) []string {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	network := []string{"-p", addr + ":6379"}
	if hostNetwork(t) {
		network = []string{"--network", "host"}
		args = append(args, "--bind", "127.0.0.1", "--port", port)
	}
	return slices.Concat(network, before, []string{redisImage, "redis-server"}, args)
}

// PID is the process id of its first process on this host, where the engine runs on this host.
func (r *Redis) PID(t testing.TB) int { return r.server.pid(t) }

// Client connects to it. It is more patient than those of the app, so that a slow machine is no broken Redis.
func (r *Redis) Client(t testing.TB) *redis.Client {
	client := queue.DialWithin(r.Addr, Password, patience)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Wait waits until it answers.
func (r *Redis) Wait(t testing.TB) {
	t.Helper()
	client := queue.Dial(r.Addr, Password)
	defer client.Close() //nolint:errcheck // only asked
	eventually(t, "Redis at "+r.Addr, func(ctx context.Context) error { return client.Ping(ctx).Err() })
}

// Reset empties it and gives it its usual settings again, for the next test.
func (r *Redis) Reset(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client := queue.DialWithin(r.Addr, Password, patience)
	defer client.Close() //nolint:errcheck // all that was asked was answered
	err := client.FlushAll(ctx).Err()
	usual := append(redisSettings(), "--maxmemory", "0", "--min-replicas-to-write", "0")
	for i := 0; i < len(usual); i += 2 {
		err = errors.Join(err, client.ConfigSet(ctx, strings.TrimPrefix(usual[i], "--"), usual[i+1]).Err())
	}
	if err != nil {
		t.Fatalf("reset Redis at %s: %v", r.Addr, err)
	}
}

// Kill ends it as a crash does.
func (r *Redis) Kill(t testing.TB) { r.server.signal(t, "KILL") }

// Freeze stops it without closing connections.
func (r *Redis) Freeze(t testing.TB) { r.server.signal(t, "STOP") }

// Thaw undoes Freeze.
func (r *Redis) Thaw(t testing.TB) { r.server.signal(t, "CONT") }

// Restart starts it again after Kill.
func (r *Redis) Restart(t testing.TB) {
	t.Helper()
	r.server.restart(t)
	r.Wait(t)
}

// Postgres is a Postgres with durable commits and an empty database votes. Each call of Database gives another one.
type Postgres struct {
	Addr   string
	server server
}

// StartPostgres starts one.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	addr := freeAddr(t)
	p := &Postgres{Addr: addr}
	noImage := haveImage(t, postgresImage, "postgres")
	if noImage == nil {
		p.server = startContainer(t, postgresContainer(t, addr))
	} else {
		host, port, _ := net.SplitHostPort(addr)
		p.server = startPostgresProcess(t, host, port, noImage)
	}
	p.Wait(t)
	if noImage != nil { // The image makes it from POSTGRES_DB.
		p.Exec(t, "postgres", "CREATE DATABASE votes")
	}
	return p
}

// StartPostgresOnDisk starts a Postgres on a filesystem of its own, of so many bytes.
func StartPostgresOnDisk(t testing.TB, size int) (*Postgres, *Disk) {
	t.Helper()
	if err := haveImage(t, postgresImage, "postgres"); err != nil {
		unavailable(t, "Postgres in a container", err)
	}
	d := newDisk(t, postgresImage, size)
	p := &Postgres{Addr: freeAddr(t)}
	// Its log is kept in files of a megabyte, or there would be nothing else on a small disk.
	settings := []string{"-e", "PGDATA=/data/postgres", "-e", "POSTGRES_INITDB_ARGS=--wal-segsize=1"}
	p.server = startContainer(t, postgresContainer(t, p.Addr, append(settings, d.mount()...)...))
	p.Wait(t)
	return p, d
}

// postgresContainer gives the arguments of docker run for a Postgres at addr; before are further ones that go before the image.
func postgresContainer(t testing.TB, addr string, before ...string) []string {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	args := append([]string{"-e", "POSTGRES_PASSWORD=" + Password, "-e", "POSTGRES_DB=votes", "--stop-signal", "SIGINT"}, before...)
	if hostNetwork(t) {
		return append(args, "--network", "host", postgresImage, "postgres", "-p", port, "-c", "listen_addresses="+host)
	}
	return append(args, "-p", addr+":5432", postgresImage)
}

// PID is the process id of its first process on this host, where the engine runs on this host.
func (p *Postgres) PID(t testing.TB) int { return p.server.pid(t) }

// Wait waits until it answers.
func (p *Postgres) Wait(t testing.TB) {
	t.Helper()
	eventually(t, "Postgres at "+p.Addr, func(ctx context.Context) error {
		conn, err := p.connect(ctx, "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

func (p *Postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.Addr, database))
	if err != nil {
		return nil, err
	}
	cfg.Password = Password
	return pgx.ConnectConfig(ctx, cfg)
}

// Database makes an empty database and returns its name.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", time.Now().UnixNano())
	p.Exec(t, "postgres", "CREATE DATABASE "+name)
	return name
}

// Exec runs SQL.
func (p *Postgres) Exec(t testing.TB, database, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := p.connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // done with it
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Conn connects to a database.
func (p *Postgres) Conn(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := p.connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Kill ends it as a crash does. (SIGQUIT is Postgres' immediate shutdown: nothing is written or said any more. SIGKILL would leave
// the other processes of a Postgres that is not alone in its container.)
func (p *Postgres) Kill(t testing.TB) { p.server.signal(t, "QUIT") }

// Restart starts it again after Kill, or if it ended by itself.
func (p *Postgres) Restart(t testing.TB) {
	t.Helper()
	p.server.restart(t)
	p.Wait(t)
}

func startPostgresProcess(t testing.TB, host, port string, noImage error) server {
	t.Helper()
	bin, err := postgresPrograms()
	if err != nil {
		unavailable(t, "Postgres", noImage, err)
	}
	// Postgres does not run as root; a root test runs it as the user that the machine has for it. Its directory must be open to that user.
	dir, err := os.MkdirTemp("", "testservices")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := []string{}
	if os.Getuid() == 0 {
		as = []string{"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"}
		if out, err := command("chown", "postgres", dir).CombinedOutput(); err != nil {
			unavailable(t, "Postgres", noImage, fmt.Errorf("no user for it: %s", out))
		}
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	initdb := append(as, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--no-locale", "-E", "UTF8",
		"-A", "scram-sha-256", "--pwfile", password, "--no-sync")
	if out, err := command(initdb...).CombinedOutput(); err != nil {
		unavailable(t, "Postgres", noImage, fmt.Errorf("initdb: %w: %s", err, out))
	}
	args := append(as, filepath.Join(bin, "postgres"), "-D", data, "-h", host, "-p", port, "-k", "")
	return startProcess(t, args[0], args[1:]...)
}

func postgresPrograms() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.New("postgres is not installed")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// haveImage makes sure that the engine has an image, from its own store or from the lab's bundle. It never asks a registry.
func haveImage(t testing.TB, image, bundled string) error {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs a service")
	}
	if os.Getenv("LAB_TEST_PROCESSES") == "1" {
		return errors.New("LAB_TEST_PROCESSES=1 asks for processes")
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return err
	}
	if command("docker", "image", "inspect", image).Run() == nil {
		return nil
	}
	archive, err := bundle(bundled)
	if err != nil {
		return fmt.Errorf("image %s: %w", image, err)
	}
	if out, err := command("docker", "load", "-i", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("docker load -i %s: %w: %s", archive, err, bytes.TrimSpace(out))
	}
	if out, err := command("docker", "image", "inspect", image).CombinedOutput(); err != nil {
		return fmt.Errorf("image %s is not in %s: %s", image, archive, bytes.TrimSpace(out))
	}
	return nil
}

// bundle finds an archive in the lab's bundle, at the root of the repository.
func bundle(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			archive := filepath.Join(dir, ".lab", "bundle", "linux-"+runtime.GOARCH, name+".tar")
			_, err := os.Stat(archive)
			return archive, err
		}
	}
	return "", errors.New("not inside of the repository")
}

// command prepares one of the tests' own commands. Cleanups need them too, when the context of the test has ended.
func command(args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), args[0], args[1:]...)
}

type container struct{ id string }

func startContainer(t testing.TB, args []string) *container {
	t.Helper()
	out, err := command(append([]string{"docker", "run", "-d", "--label", Label}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker run %s: %v: %s", strings.Join(args, " "), err, out)
	}
	lines := strings.Fields(string(out))
	c := &container{id: lines[len(lines)-1]}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := command("docker", "logs", "--tail", "20", c.id).CombinedOutput()
			t.Logf("container of %v:\n%s", args, logs)
		}
		if out, err := command("docker", "rm", "-f", "-v", c.id).CombinedOutput(); err != nil {
			t.Errorf("docker rm: %v: %s", err, out)
		}
	})
	return c
}

func (c *container) signal(t testing.TB, name string) {
	t.Helper()
	verb := []string{"docker", "kill", "--signal", name, c.id}
	switch name { // STOP sent by the engine would stop the first process only; the freezer stops all of them.
	case "STOP":
		verb = []string{"docker", "pause", c.id}
	case "CONT":
		verb = []string{"docker", "unpause", c.id}
	}
	if out, err := command(verb...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", verb, err, out)
	}
	if name == "KILL" || name == "QUIT" { // Until the engine knows that it ended, it would not start it again.
		if out, err := command("docker", "wait", c.id).CombinedOutput(); err != nil {
			t.Fatalf("docker wait: %v: %s", err, out)
		}
	}
}

func (c *container) restart(t testing.TB) {
	t.Helper()
	if out, err := command("docker", "start", c.id).CombinedOutput(); err != nil {
		t.Fatalf("docker start: %v: %s", err, out)
	}
}

func (c *container) pid(t testing.TB) int {
	t.Helper()
	out, err := command("docker", "inspect", "--format", "{{.State.Pid}}", c.id).CombinedOutput()
	if err != nil {
		t.Fatalf("docker inspect: %v: %s", err, out)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || pid == 0 {
		t.Fatalf("the container's process is %q", out)
	}
	return pid
}

// hostNetwork tells whether the engine can give containers this host's own network: not where it lives in a virtual machine.
func hostNetwork(t testing.TB) bool {
	t.Helper()
	out, err := command("docker", "info", "--format", "{{.OperatingSystem}}").Output()
	if err != nil {
		t.Fatalf("docker info: %v", err)
	}
	return runtime.GOOS == "linux" && !strings.Contains(string(out), "Docker Desktop")
}

type process struct {
	path string
	args []string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

func startProcess(t testing.TB, path string, args ...string) server {
	t.Helper()
	p := &process{path: path, args: args, log: &bytes.Buffer{}}
	p.restart(t)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", path, p.log)
		}
	})
	return p
}

func (p *process) restart(t testing.TB) {
	t.Helper()
	p.cmd = command(append([]string{p.path}, p.args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (p *process) signal(t testing.TB, name string) {
	t.Helper()
	if err := p.cmd.Process.Signal(signals[name]); err != nil {
		t.Fatal(err)
	}
	if name == "KILL" || name == "QUIT" {
		_ = p.cmd.Wait()
	}
}

func (p *process) pid(testing.TB) int { return p.cmd.Process.Pid }

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	return l.Addr().String()
}

func eventually(t testing.TB, what string, try func(ctx context.Context) error) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not up after %v: %v", what, startTimeout, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
