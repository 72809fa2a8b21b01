package pgtest

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a PostgreSQL server. It listens on localhost and on a socket in Dir.
type Server struct {
	Dir  string // holds the data directory, the socket and the file log
	Port string
	cmd  *exec.Cmd

	mu    sync.Mutex
	admin *pgx.Conn // to database postgres, nil until it is needed

	making    sync.Mutex
	templates map[string]bool // that are complete, by name
}

// StartServer creates a database cluster in a folder and starts a server with these settings, as "name=value".
func StartServer(dir string, settings ...string) (*Server, error) {
	s := &Server{Dir: dir, Port: FreePort(), templates: map[string]bool{}}
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
	if err := s.Start(settings...); err != nil {
		return s, err
	}
	return s, s.shortenLogins()
}

// shortenLogins stores the password with one iteration of SCRAM. initdb of PostgreSQL 13 cannot, which reads 99 bytes of a password.
func (s *Server) shortenLogins() error {
	secret, err := scramSecret(Password)
	if err != nil {
		return err
	}
	c, err := pgconn.Connect(context.Background(), s.URI("postgres", ""))
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	return c.Exec(context.Background(), "ALTER ROLE postgres PASSWORD '"+secret+"'").Close()
}

// scramSecret returns what PostgreSQL stores for a password. One iteration in place of 4096 spares both sides most of a login,
// and a test logs in some ten times.
func scramSecret(password string) (string, error) {
	const salt = "salt"
	salted, err := pbkdf2.Key(sha256.New, password, []byte(salt), 1, sha256.Size)
	if err != nil {
		return "", err
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored, encode := sha256.Sum256(mac("Client Key")), base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$1:%s$%s:%s", encode([]byte(salt)), encode(stored[:]), encode(mac("Server Key"))), nil
}

// NewServer starts a server of the test's own, which is removed when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s, err := StartServer(serverTempDir(t))
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
	return Until(func() error {
		c, err := pgconn.Connect(context.Background(), s.URI("postgres", ""))
		if err != nil {
			return err
		}
		return c.Close(context.Background())
	})
}

// testSettings are those of every server: nothing that is written has to survive a crash of the machine, and nothing runs beside
// the tests, such as the launcher of autovacuum, which starts a worker for each of hundreds of databases again and again.
var testSettings = []string{
	"listen_addresses=localhost", "max_connections=400", "fsync=off", "full_page_writes=off", "autovacuum=off", "jit=off",
	"shared_buffers=64MB", "checkpoint_timeout=1h", "log_checkpoints=off",
}

// Launch starts the server and does not wait for it.
func (s *Server) Launch(settings ...string) error {
	args := []string{"-D", s.DataDir(), "-p", s.Port, "-k", s.Dir}
	for _, setting := range append(testSettings, settings...) {
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
