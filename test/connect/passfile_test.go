package connect

import (
	"path/filepath"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A pipe that nobody writes to would be waited for before anything else, signals included.
func TestPasswordFileIsAPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pgpass")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PGHOST=localhost", "PGPORT=" + pgtest.Shared.Port, "PGUSER=postgres", "PGPASSFILE=" + pipe, noGuard}
	pgtest.Start(t, environ...).Wait().Expect(t, 2, "PGPASSFILE")
	pgtest.Start(t, append(environ, "PGPASSWORD="+pgtest.Password)...).Wait().Expect(t, 0, "pending: ") // so that no file is read
	content := "localhost:*:*:postgres:" + pgtest.Password + "\n"
	environ[3] = "PGPASSFILE=" + pgtest.TempFile(t, content)
	pgtest.Start(t, environ...).Wait().Expect(t, 0, "pending: ")
}
