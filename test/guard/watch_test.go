package guard

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A watch of a role that may not create event triggers tries to once for each database, and not again at each look: the server's log has
// one error, not one each round.
func TestGuardIsTriedOnce(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	one, other := server.NewDatabase(t, "public"), server.NewDatabase(t, "public")
	one.Exec(fmt.Sprintf(`CREATE ROLE evo LOGIN PASSWORD '%s'; GRANT CREATE ON DATABASE %s, %s TO evo`, pgtest.Password, one.Name, other.Name))
	denied := func() []string {
		log, err := os.ReadFile(filepath.Join(server.Dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`ERROR: .* permission denied to create event trigger`).FindAllString(string(log), -1)
	}
	network := new(pgtest.Network)
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+pgtest.URI("evo", network.Listen(t, server.Address()), one.Name, ""),
		"PATCH_DATABASES="+one.Name+","+other.Name, "PATCH_SCHEMAS=first,second", "PATCH_WATCH=100ms",
		"PATCH_CONNECTIONS=1") // so that the databases are handled one after the other
	p.WaitFor(pgtest.Watching + " ")
	began := network.RoundTrips.Load()
	pgtest.MustUntil(t, func() error {
		if n := network.RoundTrips.Load() - began; n < 40 {
			return fmt.Errorf("%d round trips, want 40", n)
		}
		return nil
	})
	if n := len(denied()); n != 2 {
		t.Errorf("the server has refused %d event triggers, want one for each of two databases", n)
	}
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0, "pending: ", pgtest.NoGuard)
	if n := strings.Count(o.Stderr, pgtest.NoGuard); n != 4 {
		t.Errorf("%d warnings, want one for each of four schemas:\n%s", n, o.Stderr)
	}
	// A dry run does not try.
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+other.URIAs("evo"), "PATCH_DRY_RUN=true").Expect(t, 0, "pending: ", pgtest.GuardWouldBe)
	if n := len(denied()); n != 2 {
		t.Errorf("a dry run has tried to create an event trigger")
	}
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+other.URIAs("evo")).Expect(t, 0, "pending: ", pgtest.NoGuard)
	if n := len(denied()); n != 3 {
		t.Errorf("the server has refused %d event triggers, want another one", n)
	}
}
