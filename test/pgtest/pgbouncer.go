package pgtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// StartPgBouncer starts a PgBouncer that pools transactions of every database of the server, and returns its address. It
// has one more database, "down", whose server does not run. It ends with the test.
func (s *Server) StartPgBouncer(t testing.TB) (address string) {
	t.Helper()
	dir := ShortTempDir(t)
	if err := MakeServerDir(dir); err != nil {
		t.Fatal(err)
	}
	port := FreePort()
	for name, content := range map[string]string{
		"users": fmt.Sprintf("%q %q\n", "postgres", Password),
		"ini": "[databases]\n* = host=localhost port=" + s.Port + "\ndown = host=localhost port=" + FreePort() + "\n[pgbouncer]\npool_mode = transaction\nlisten_addr = localhost\nlisten_port = " + port +
			"\nauth_type = scram-sha-256\nauth_file = " + dir + "/users\nunix_socket_dir =\nserver_login_retry = 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	StartDaemon(t, "pgbouncer", "pgbouncer", "/usr/sbin/pgbouncer", ServerUser(), filepath.Join(dir, "ini"))
	return net.JoinHostPort("localhost", port)
}
