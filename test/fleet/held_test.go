package fleet

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Prisma's lock is held in one database: the others are done meanwhile over the only connection, then that one.
func TestFleetOneIsMigrated(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("mi_a", "mi_b", "mi_c", "mi_d")
	for _, databases := range []string{"mi_*", "mi_a,mi_b,mi_c,mi_d"} {
		prisma := f.open("mi_a")
		pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
		pgtest.Exec(t, prisma, recreateIndex)
		p := pgtest.Start(t, f.environ(databases, "PATCH_CONNECTIONS=1")...)
		p.WaitForOutput("/mi_b ", "/mi_c ", "/mi_d ")
		p.WaitFor(pgtest.MigrationRuns)
		if strings.Contains(p.Stdout.String(), "mi_a") || !hasIndex(t, prisma) {
			t.Error("the database whose lock is held was handled")
		}
		pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock_all()")
		o := p.Wait()
		o.Expect(t, 0, "/mi_a schema=public changed=true")
		expectLast(t, o, "done: 4 patched")
	}
}

// The lock is never released: the others are done, and the exit status is that of a wait that was given up.
func TestFleetOneIsMigratedForEver(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("me_a", "me_b")
	pgtest.Exec(t, f.open("me_a"), "SELECT pg_advisory_lock(72707369)")
	o := f.run("me_*", inJSON, "PATCH_CONNECTIONS=1", pgtest.Shortly)
	o.Expect(t, 4, pgtest.GaveUp+pgtest.ShortWait+": "+pgtest.MigrationRuns)
	reportOf(t, o).expect(t, all("failed", "me_a").and(all("patched", "me_b")))
}

// The table of one database is in use: the lines of the others are out before it is free, and it is the last.
func TestFleetOneIsInUse(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("iu_a", "iu_b", "iu_c", "iu_d", "iu_e", "iu_f")
	holder := f.open("iu_a")
	pgtest.Exec(t, holder, lockTable)
	p := pgtest.Start(t, f.environ("iu_*", "PATCH_CONNECTIONS=2")...)
	p.WaitForOutput("/iu_b ", "/iu_c ", "/iu_d ", "/iu_e ", "/iu_f ")
	pgtest.Exec(t, holder, "COMMIT")
	o := p.Wait()
	o.Expect(t, 0)
	if lines := strings.Split(strings.TrimSpace(o.Stdout), "\n"); len(lines) != 6 || !strings.Contains(lines[5], "/iu_a ") {
		t.Errorf("want iu_a as the last of six lines:\n%s", o.Stdout)
	}
}

// Some databases refuse every connection.
func TestFleetOneRefusesConnections(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("rc_a", "rc_b", "rc_c", "rc_d")
	uri := f.addRole("rc_app", "")
	f.give("rc_app", "rc_a", "rc_b", "rc_c", "rc_d")
	pgtest.Exec(t, f.admin, "ALTER DATABASE rc_b CONNECTION LIMIT 0; ALTER DATABASE rc_c ALLOW_CONNECTIONS false")
	o := f.as(uri, "rc_*", pgtest.Shortly, "PATCH_CONNECTIONS=1")
	o.Expect(t, 4, `too many connections for database \"rc_b\"`)
	reportOf(t, o).expect(t, all("patched", "rc_a", "rc_d").and(all("failed", "rc_b *")))
	o = f.as(uri, "rc_a,rc_c,rc_d", "PATCH_CONNECTIONS=1")
	o.Expect(t, 1, `database \"rc_c\" is not currently accepting connections`)
	reportOf(t, o).expect(t, all("patched", "rc_a", "rc_d").and(all("failed", "rc_c")))
}
