package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// oddNames are names of databases and schemas that have to be quoted somewhere.
var oddNames = []string{
	`two words`, `"quoted"`, `it's`, `100%s`, `grüße 你好`, `-d postgres`, `a/b`, `back\slash`, `a;b`, `Upper`, `host=other`, `a?b&c`, `$1`, `[x]`, "tab\there", `*`, `a*b`,
}

// fleetWithOthers creates a server with databases of Evolution's and of other programs. It returns the names of the
// former.
func fleetWithOthers(t *testing.T) (f *fleet, names []string) {
	f = newFleet(t)
	names = append(numbered("evolution_", 14), oddNames...)
	f.add(names...)
	f.addSchemas("two schemas", "a", "b c")
	f.addEmpty("other", "evolution_not_yet", "closed", "template_of_mine")
	pgtest.Exec(t, f.open("other"), `CREATE TABLE credentials ("apiKey" text UNIQUE); CREATE VIEW "OpenaiCreds" AS SELECT * FROM credentials`)
	f.add("closed_evolution", "template_evolution")
	pgtest.Exec(t, f.admin, `ALTER DATABASE closed ALLOW_CONNECTIONS false; ALTER DATABASE closed_evolution ALLOW_CONNECTIONS false;
		ALTER DATABASE template_of_mine IS_TEMPLATE true; ALTER DATABASE template_evolution IS_TEMPLATE true`)
	return f, names
}

// dumps returns the whole of each of some databases.
func (f *fleet) dumps(names ...string) map[string]string {
	f.t.Helper()
	found := map[string]string{}
	for _, name := range names {
		d := pgtest.Database{Server: f.Server, Name: name, Schema: "public"}
		found[name] = d.With(f.t).Dump()
	}
	return found
}

// expectOddTargets expects the target of each line to be one word, whatever the name of its database.
func (f *fleet) expectOddTargets(t *testing.T, o pgtest.Outcome) {
	t.Helper()
	for _, name := range oddNames {
		target := f.Address() + "/" + name
		if strings.ContainsAny(name, " =\"\t") {
			target = strconv.Quote(target)
		}
		if !strings.Contains(o.Stdout, "patched: "+target+" schema=public ") {
			t.Errorf("%s is not in the output", target)
		}
	}
}

// A run finds every database with the table, whatever its name, and touches no other.
func TestFleetOfEveryDatabase(t *testing.T) {
	t.Parallel()
	f, names := fleetWithOthers(t)
	untouched := []string{"other", "evolution_not_yet", "template_of_mine", "template_evolution", "postgres"}
	before := f.dumps(untouched...)
	want := all("patched", names...).and(report{"two schemas a": "patched", "two schemas b c": "patched"})
	t.Run("status", func(t *testing.T) {
		o := f.run("*", inJSON, "PATCH_ACTION=status")
		o.Expect(t, 5)
		r := maps.Clone(want)
		for key := range r {
			r[key] = "unpatched"
		}
		reportOf(t, o).expect(t, r)
	})
	t.Run("apply", func(t *testing.T) {
		o := f.run("*", inJSON, "PATCH_CONNECTIONS=3", pgtest.Guard)
		o.Expect(t, 0)
		reportOf(t, o).expect(t, want)
		expectLast(t, o, fmt.Sprintf("done: %d patched (%d changed), 3 %s", len(want), len(want), pgtest.WithoutTable))
	})
	for name, dump := range f.dumps(untouched...) {
		if dump != before[name] {
			t.Errorf("database %s differs:\n%s", name, pgtest.FirstDifference(before[name], dump))
		}
	}
	t.Run("again", func(t *testing.T) {
		o := f.run("*")
		o.Expect(t, 0, "patched: ", "changed=false")
		expectLast(t, o, fmt.Sprintf("done: %d patched, 3 %s", len(want), pgtest.WithoutTable))
		o.ExpectNot(t, "changed=true")
		f.expectOddTargets(t, o)
	})
	t.Run("odd names given", func(t *testing.T) {
		plain := slices.DeleteFunc(slices.Clone(oddNames), func(name string) bool { return strings.ContainsAny(name, `*?[\`) })
		reportOf(t, f.run(strings.Join(plain, ","), inJSON)).expect(t, all("patched", plain...))
		reportOf(t, f.run(`back\\slash,a\?b&c,\[x],\*,a\*b`, inJSON)).expect(t, all("patched", `back\slash`, "a?b&c", "[x]", "*", "a*b"))
	})
	t.Run("revert", func(t *testing.T) {
		o := f.run("*", inJSON, "PATCH_ACTION=revert")
		o.Expect(t, 0)
		expectLast(t, o, fmt.Sprintf("done: %d unpatched (%d changed), 3 %s", len(want), len(want), pgtest.WithoutTable))
		for name, dump := range f.dumps(names[0], `it's`, "a/b") {
			if !strings.Contains(dump, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key"`) || strings.Contains(dump, "evolution_openai_patch") {
				t.Errorf("database %s is not reverted", name)
			}
		}
	})
	t.Run("dry run", func(t *testing.T) {
		before := f.dumps(names[0], `"quoted"`)
		o := f.run("*", "PATCH_DRY_RUN=true")
		o.Expect(t, 0, "unpatched: ", `would run: BEGIN; DROP INDEX`)
		expectLast(t, o, fmt.Sprintf("done: %d unpatched, 3 %s", len(want), pgtest.WithoutTable))
		for name, dump := range f.dumps(names[0], `"quoted"`) {
			if dump != before[name] {
				t.Errorf("a dry run changed database %s", name)
			}
		}
	})
}

// A database that is named is handled even if it has no table yet, or does not exist. One that only a pattern matches is
// not, and a name that a pattern matches too is handled once.
func TestFleetNamesAndPatterns(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("np_a", "np_b", "npx_c")
	f.addEmpty("np_early", "np_late", "np_never")
	run := func(databases string, code int, want report, environ ...string) pgtest.Outcome {
		t.Helper()
		o := f.run(databases, append(environ, inJSON)...)
		o.Expect(t, code)
		reportOf(t, o).expect(t, want)
		return o
	}
	run("np_*", 0, all("unpatched", "np_a", "np_b"), "PATCH_DRY_RUN=true")
	run("np_?,np[xyz]_c,np_a", 0, all("unpatched", "np_a", "np_b", "npx_c"), "PATCH_DRY_RUN=true")
	run("np_early,np_a,np_*", 0, all("patched", "np_a", "np_b").and(all("pending", "np_early")), "PATCH_ON_MISSING_TABLE=continue")
	run("np_early,np_a", 4, all("failed", "np_early").and(all("patched", "np_a")), "PATCH_ON_MISSING_TABLE=fail")
	run("np_early,np_*", 0, all("guarded", "np_early").and(all("patched", "np_a", "np_b")))
	run("np_early,np_gone", 0, all("guarded", "np_early").and(all("pending", "np_gone")))
	run("np_e*,np_l*", 0, report{})
	expectLast(t, run("np_nothing*", 0, report{}), "done: "+pgtest.NoneMatches)
	expectLast(t, run("np_e*", 0, report{}, "PATCH_ON_MISSING_TABLE=fail"), "done: "+pgtest.OneWithoutTable)
	for name, want := range map[string]string{"np_early": "1", "np_late": "0", "np_never": "0"} {
		if got := pgtest.Text(t, f.open(name), "SELECT count(*) FROM pg_event_trigger"); got != want {
			t.Errorf("%s has %s guards, want %s", name, got, want)
		}
	}
	run("*", 0, all("patched", "np_a"), "DATABASE_CONNECTION_URI="+f.URI("postgres", "public"), "PATCH_DATABASES=np_a*") // the last one counts
}

// A named database that has no table yet is waited for, while the others are handled.
func TestFleetWaitsForATable(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("wt_b", "wt_c")
	f.addEmpty("wt_a", "wt_other")
	p := pgtest.Start(t, f.environ("wt_a,wt_*", "PATCH_ON_MISSING_TABLE=wait", "PATCH_CONNECTIONS=1")...)
	p.WaitForOutput("/wt_b ", "/wt_c ")
	if strings.Contains(p.Stdout.String(), "wt_a") {
		t.Error("a line was printed for a database that is waited for")
	}
	c := f.open("wt_a")
	pgtest.MustMigrate(t, c, pgtest.Last)
	_ = c.Close(context.Background())
	p.Wait().Expect(t, 0, "/wt_a schema=public changed=true")
	expectLast(t, p.Wait(), "done: 3 patched (3 changed), "+pgtest.OneWithoutTable)
}

// A database that is dropped after it was found is not missed by anybody.
func TestFleetDatabaseIsDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("dm_a", "dm_b", "dm_c")
	for _, missing := range []string{"wait", "fail"} {
		pgtest.Exec(t, f.open("dm_b"), lockTable)
		p := pgtest.Start(t, f.environ("dm_*", "PATCH_CONNECTIONS=1", "PATCH_LOG_LEVEL=debug", "PATCH_ON_MISSING_TABLE="+missing)...)
		p.WaitFor(pgtest.TableInUse)
		pgtest.Exec(t, f.admin, "DROP DATABASE dm_b WITH (FORCE)")
		o := p.Wait()
		o.Expect(t, 0, "/dm_a ", "/dm_c ")
		expectLast(t, o, pgtest.OneWithoutTable)
		f.add("dm_b")
	}
}

// A database that PostgreSQL failed to drop, and that accepts no connections since, is not found.
func TestFleetHalfDroppedDatabase(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("hd_a", "hd_b")
	pgtest.Exec(t, f.admin, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'hd_a'")
	o := f.run("hd_*", inJSON)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "hd_b"))
}
