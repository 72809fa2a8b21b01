package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// BinDir returns the folder of PostgreSQL's server programs: PG_BINDIR, or Debian's newest.
func BinDir() (string, error) {
	if dir := os.Getenv("PG_BINDIR"); dir != "" {
		return dir, nil
	}
	if dir := newestBinDir(); dir != "" {
		return dir, nil
	}
	return "", errors.New("no PostgreSQL server found: apt-get install postgresql, or set PG_BINDIR")
}

// Version returns the major version of the server programs under test, 0 if there are none.
var Version = sync.OnceValue(func() (major int) {
	cmd, err := PostgresCommand("postgres", "--version")
	if err != nil {
		return 0
	}
	out, _ := cmd.Output()
	_, _ = fmt.Sscanf(string(out), "postgres (PostgreSQL) %d", &major)
	return major
})

// newestBinDir returns the folder of Debian's newest PostgreSQL, or "".
func newestBinDir() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return ""
	}
	slices.SortFunc(found, func(a, b string) int {
		major := func(s string) int { n, _ := strconv.Atoi(strings.Split(s, "/")[4]); return n }
		return major(a) - major(b)
	})
	return filepath.Dir(found[len(found)-1])
}

// PostgresCommand returns a command of PostgreSQL's, such as psql. It runs as [ServerUser]. A program that does not come
// with the server under test is taken from Debian's newest.
func PostgresCommand(name string, args ...string) (*exec.Cmd, error) {
	dir, err := BinDir()
	if err != nil {
		return nil, err
	}
	if !Exists(filepath.Join(dir, name)) {
		dir = newestBinDir()
	}
	cmd := exec.Command(filepath.Join(dir, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Credential: ServerUser()}
	cmd.Env = append(os.Environ(), "PGPASSWORD="+Password, "LC_ALL=C", "LD_LIBRARY_PATH="+filepath.Join(dir, "../lib"))
	return cmd, nil
}

// ServerUser returns the user that servers run as: an unprivileged one if the tests run as root, which PostgreSQL
// refuses, and nil, the current user, otherwise.
func ServerUser() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, _ = user.Lookup("nobody")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// MakeServerDir creates a folder, if there is none, and gives it to [ServerUser].
func MakeServerDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return giveToServer(dir)
}

// giveToServer gives a file to ServerUser.
func giveToServer(path string) error {
	if c := ServerUser(); c != nil {
		return os.Chown(path, int(c.Uid), int(c.Gid))
	}
	return nil
}

// StartDaemon runs a server of another kind until the test ends, as a user or, if that is nil, as the current one. Its
// program is looked for in PATH and under path; the test fails with the name of its Debian package if there is none. The
// log of a test that fails has its output.
func StartDaemon(t testing.TB, name, debian, path string, user *syscall.Credential, args ...string) {
	t.Helper()
	if found, err := exec.LookPath(name); err == nil {
		path = found
	} else if !Exists(path) {
		t.Fatalf("no %s found: apt-get install %s", name, debian)
	}
	var output Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, output.String())
		}
	})
}
