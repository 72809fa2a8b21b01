package pgtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Exists reports whether there is a file.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TempFile writes a file in a temporary folder and returns its path.
func TempFile(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// ShortTempDir creates a temporary folder with a short path, which sockets need, that every user can enter. It is
// removed when the test ends.
func ShortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "eop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fastDir returns a folder in memory that has room for many databases, and otherwise that of temporary files: PostgreSQL copies a
// database there in a tenth of the time.
func fastDir() string {
	const dir, room = "/dev/shm", 4 << 30 // bytes
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return os.TempDir()
	}
	return dir
}

// serverTempDir is like ShortTempDir, for a server.
func serverTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(fastDir(), "eop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Glob returns the files that match a pattern. The test fails if the pattern is malformed.
func Glob(t testing.TB, elem ...string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
