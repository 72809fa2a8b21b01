package pgtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a PostgreSQL server. It listens on localhost and on a socket in Dir.
type Server struct {
	Dir  string // holds the data directory, the socket and the file log
	Port string
	cmd  *exec.Cmd
}

// StartServer creates a database cluster in a folder and starts a server with these settings, as "name=value".
func StartServer(dir string, settings ...string) (*Server, error) {
	s := &Server{Dir: dir, Port: FreePort()}
	if err := MakeServerDir(dir); err != nil {
		return nil, err
	}
	passwordFile := filepath.Join(dir, "pw")
	if err := os.WriteFile(passwordFile, []byte(Password), 0o644); err != nil {
		return nil, err
	}
	cmd, err := PostgresCommand("initdb", "-D", s.DataDir(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", passwordFile, "-E", "UTF8", "--locale", "C", "-N")
	if err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	const rules = "local all all scram-sha-256\nhost all all all scram-sha-256\nhost replication all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(s.DataDir(), "pg_hba.conf"), []byte(rules), 0o644); err != nil {
		return nil, err
	}
	return s, s.Start(settings...)
}

// NewServer starts a server of the test's own, which is removed when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s, err := StartServer(ShortTempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill() })
	return s
}

// NewStoppedServer is like NewServer, but the server does not run.
func NewStoppedServer(t testing.TB) *Server {
	t.Helper()
	s := NewServer(t)
	s.Kill()
	return s
}

// DataDir returns the path of the data directory.
func (s *Server) DataDir() string { return filepath.Join(s.Dir, "data") }

// Address returns the server's host and port.
func (s *Server) Address() string { return net.JoinHostPort("localhost", s.Port) }

// Socket returns the path of the server's Unix socket.
func (s *Server) Socket() string { return filepath.Join(s.Dir, ".s.PGSQL."+s.Port) }

// Start starts the server and waits until it accepts connections.
func (s *Server) Start(settings ...string) error {
	if err := s.Launch(settings...); err != nil {
		return err
	}
	return Until(30*time.Second, func() error {
		c, err := pgconn.Connect(context.Background(), s.URI("postgres", ""))
		if err != nil {
			return err
		}
		return c.Close(context.Background())
	})
}

// Launch starts the server and does not wait for it.
func (s *Server) Launch(settings ...string) error {
	args := []string{"-D", s.DataDir(), "-p", s.Port, "-k", s.Dir, "-c", "listen_addresses=localhost", "-c", "fsync=off", "-c", "max_connections=200"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd, err := PostgresCommand("postgres", args...)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	s.cmd = cmd
	return cmd.Start()
}

// Kill shuts the server down at once, as after a crash.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Stop shuts the server down in good order. It ends all sessions.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

func (s *Server) end(signal syscall.Signal) {
	_ = s.cmd.Process.Signal(signal)
	_ = s.cmd.Wait()
}

// URI returns the superuser's connection string, as Evolution has it. An empty schema is left out.
func (s *Server) URI(database, schema string) string {
	return URI("postgres", s.Address(), database, schema)
}

// URI returns a connection string without TLS, as Evolution has it. An empty schema is left out.
func URI(user, hostPort, database, schema string) string {
	query := "?sslmode=disable"
	if schema != "" {
		query += "&schema=" + url.QueryEscape(schema)
	}
	return "postgresql://" + user + ":" + url.QueryEscape(Password) + "@" + hostPort + "/" + database + query
}
