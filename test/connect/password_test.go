package connect

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// passwords are such as PostgreSQL prepares for SCRAM, by RFC 4013, or does not because that prohibits something in them.
var passwords = map[string]string{
	"ordinal":           "senha1º",
	"superscript":       "m²",
	"fraction":          "x½",
	"full width":        "ｓｅｎｈａ１",
	"ligature":          "ﬁm",
	"soft hyphen":       "se\u00adnha",
	"no-break space":    "a\u00a0b",
	"zero width space":  "a\u200bb",
	"diaeresis alone":   "a\u00a8b",
	"Ohm":               "5\u2126",
	"only a hyphen":     "\u00ad",
	"decomposed":        "cafe\u0301",
	"composed":          "café",
	"ASCII":             "plain",
	"unassigned":        "º😀",
	"control character": "º\x01",
	"both directions":   "º\u0627a",
	"private use":       "º\ue000",
	"middle dot":        "x²·y",
}

// A password that psql gets in with gets the program in, however it is stored and asked for.
func TestPasswords(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	const rules = "host all clear all password\nhost all postgres all scram-sha-256\nhost all all all md5\n" // SCRAM where that is stored
	if err := os.WriteFile(filepath.Join(s.DataDir(), "pg_hba.conf"), []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	admin := s.Connect(t, "postgres")
	for role, encryption := range map[string]string{"scram": "scram-sha-256", "hashed": "md5", "clear": "scram-sha-256"} {
		pgtest.Exec(t, admin, "CREATE ROLE "+role+" LOGIN")
		for name, password := range passwords {
			t.Run(role+"/"+name, func(t *testing.T) {
				pgtest.Exec(t, admin, fmt.Sprintf("SET password_encryption = '%s'; ALTER ROLE %s PASSWORD '%s'", encryption, role, password))
				psql, err := pgtest.PostgresCommand("psql", "-X", "-h", "localhost", "-p", s.Port, "-U", role, "-d", "postgres", "-c", "SELECT 1")
				if err != nil {
					t.Fatal(err)
				}
				psql.Env = append(psql.Env, "PGPASSWORD="+password)
				if out, err := psql.CombinedOutput(); err != nil {
					t.Fatalf("psql: %v\n%s", err, out)
				}
				loginWith(s.Address(), role, password).Expect(t, 0, "pending: ")
			})
		}
	}
}

// loginWith runs the program with a password.
func loginWith(address, role, password string, environ ...string) pgtest.Outcome {
	uri := "DATABASE_CONNECTION_URI=postgresql://" + role + ":" + url.PathEscape(password) + "@" + address + "/postgres?sslmode=disable"
	return pgtest.RunArgs(context.Background(), nil, append(environ, uri, noGuard, "PATCH_CONNECT_TIMEOUT=1m", "PATCH_WAIT_TIMEOUT=3m"))
}

// A password is tried a second time only where preparing changes it, and only until it is known which of the two it is.
func TestPasswordsCostNoConnection(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	const rules = "host all postgres all scram-sha-256\nhost all all all md5\n"
	if err := os.WriteFile(filepath.Join(s.DataDir(), "pg_hba.conf"), []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	admin := s.Connect(t, "postgres")
	pgtest.Exec(t, admin, "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN PASSWORD 'senha1º'")
	pgtest.Exec(t, admin, "SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'senha1º'")
	three := []string{"PATCH_DATABASES=postgres,template1,other", "PATCH_CONNECTIONS=1"}
	pgtest.Exec(t, admin, "CREATE DATABASE other")
	for name, c := range map[string]struct {
		role, password string
		environ        []string
		connections    int32
		code           int
	}{
		"SCRAM":           {"scram", "senha1º", three, 3, 0},
		"MD5":             {"hashed", "senha1º", three, 4, 0},
		"wrong":           {"scram", "senha2", nil, 1, 1},
		"wrong, prepared": {"scram", "senha2º", nil, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := new(pgtest.Network)
			o := loginWith(n.Listen(t, s.Address()), c.role, c.password, c.environ...)
			o.Expect(t, c.code)
			if c.code != 0 {
				o.Expect(t, c.code, pgtest.WrongPassword)
			}
			if got := n.Connections.Load(); got != c.connections {
				t.Errorf("%d connections, want %d\n%s", got, c.connections, o.Stdout)
			}
		})
	}
}
