package test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/test/pgtest"
)

// composeRun runs the program as the last line of a document's block does, docker compose run --rm -e NAME=value … SERVICE ACTION, with
// the connection string of a database and nothing else.
func composeRun(t *testing.T, d *pgtest.Database, page, block string) pgtest.Outcome {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(pgtest.Block(t, page, block)), "\n")
	words, found := strings.CutPrefix(lines[len(lines)-1], "docker compose run --rm ")
	options, action, named := strings.Cut(words, pgtest.Module+" ")
	if !found || !named {
		t.Fatalf("the block %s of %s is not a run of the service", block, page)
	}
	environ := []string{"DATABASE_CONNECTION_URI=" + d.URI()}
	for option := range strings.SplitSeq(options, "-e ") {
		if option = strings.TrimSpace(option); option != "" {
			environ = append(environ, option)
		}
	}
	o := pgtest.RunArgs(t.Context(), strings.Fields(action), environ)
	t.Logf("%s → exit %d\n%s%s", words, o.Code, o.Stderr, o.Stdout)
	return o
}

// futureMigration runs SQL as a migration of an Evolution that is not released yet.
func futureMigration(t *testing.T, d *pgtest.Database, name, sql string) error {
	t.Helper()
	file := t.TempDir() + "/" + name + ".sql"
	if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
		t.Fatal(err)
	}
	return pgtest.RunMigration(d.Conn, file)
}

const (
	dropUnique = `DROP INDEX "OpenaiCreds_apiKey_key";`
	swapUnique = dropUnique + ` CREATE UNIQUE INDEX "OpenaiCreds_apiKey_instanceId_key" ON "OpenaiCreds"("apiKey", "instanceId");`
)

// Evolution itself lifts the uniqueness. Its migration passes on a patched database, and both commands of docs/upgrades.md take the rest
// of the patch away, without making unique what the migration has made not unique.
func TestEvolutionAllowsIt(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{"drops the index": dropUnique, "replaces the index": swapUnique} {
		for _, block := range []string{"allowed-revert", "allowed-check"} {
			t.Run(name+", "+block, func(t *testing.T) {
				d := pgtest.NewEvolution(t, "evolution_api")
				register := func(release, instance string) int { return d.Register(release, instance, instance, pgtest.APIKey) }
				first, refused := register("2.3.7", "i1"), register("2.3.7", "i2")
				patchByDefault(t, d).Expect(t, 0, "patched: ", "changed=true")
				if second := register("2.3.7", "i2"); first != 201 || refused != 400 || second != 201 {
					t.Fatalf("HTTP %d, %d, and after the patch %d", first, refused, second)
				}
				if err := futureMigration(t, d, "20991231000000_shared_keys", sql); err != nil {
					t.Fatal(err)
				}
				composeRun(t, d, "docs/upgrades.md", block).Expect(t, 0, "unpatched: ", "changed=true")
				if padded := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" <> $1`, pgtest.APIKey); padded != "0" {
					t.Errorf("%s keys are not what was registered", padded)
				}
				if third := register("2.2.3", "i3"); third != 201 { // as an application that does not look for the key
					t.Errorf("a third instance: HTTP %d", third)
				}
				if again := d.Register("2.2.3", "i3", "again", pgtest.APIKey); (again == 500) != (sql == swapUnique) {
					t.Errorf("the same instance once more: HTTP %d", again)
				}
				before := d.Dump()
				composeRun(t, d, "docs/upgrades.md", block).Expect(t, 0, "changed=false")
				d.ExpectDump(before)
			})
		}
	}
}

// A migration that renames the index succeeds on a patched database, and revert makes the index unique again under its new name.
func TestRenamedIndex(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	patchByDefault(t, d).Expect(t, 0, "patched: ")
	if err := futureMigration(t, d, "20991231000000_renamed", `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "renamed"`); err != nil {
		t.Fatal(err)
	}
	patchByDefault(t, d).Expect(t, 0, "patched: ", "changed=false")
	composeRun(t, d, "docs/upgrades.md", "allowed-revert").Expect(t, 0, "unpatched: ", "changed=true")
	unique := d.Text(`SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY 1) FROM pg_index
		WHERE indrelid = '"OpenaiCreds"'::regclass AND indisunique AND pg_get_indexdef(indexrelid) LIKE '%("apiKey")'`)
	if unique != "renamed" {
		t.Errorf("the unique indexes are %q", unique)
	}
}

// patchByDefault runs the program with the connection string of a database and nothing else.
func patchByDefault(t *testing.T, d *pgtest.Database) pgtest.Outcome {
	t.Helper()
	o := pgtest.RunArgs(t.Context(), nil, []string{"DATABASE_CONNECTION_URI=" + d.URI()})
	t.Logf("exit %d\n%s%s", o.Code, o.Stderr, o.Stdout)
	return o
}

// One instance has a key twice, so a later unique index on key and instance fails. The statements of docs/upgrades.md find these
// credentials, keep one of each group with all bots and the default, and let Evolution's migration run again.
func TestTwoCredentialsOfOneInstance(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	patchByDefault(t, d).Expect(t, 0, "patched: ")
	for _, c := range []struct{ id, instance, key string }{
		{"c1", "i1", pgtest.APIKey}, {"c2", "i1", pgtest.APIKey}, {"c3", "i1", pgtest.APIKey}, {"c4", "i2", pgtest.APIKey}, {"c5", "i2", "another"},
	} {
		if code := d.RegisterAs(c.id, "2.3.7", c.instance, c.id, c.key); code != 201 {
			t.Fatalf("%s: HTTP %d", c.id, code)
		}
	}
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "updatedAt", "instanceId") VALUES ('n1', 'n1', now(), 'i3'), ('n2', 'n2', now(), 'i3')`) // without a key
	d.Exec(`INSERT INTO "OpenaiBot"(id, "openaiCredsId", "instanceId") VALUES ('b1', 'c1', 'i1'), ('b2', 'c2', 'i1'), ('b4', 'c4', 'i2')`)
	d.Exec(`INSERT INTO "OpenaiSetting"(id, "openaiCredsId", "instanceId") VALUES ('s1', 'c3', 'i1'), ('s2', 'c5', 'i2')`)

	const migration = "20991231000000_key_of_an_instance"
	if err := futureMigration(t, d, migration, swapUnique); !isUniqueViolation(err) {
		t.Fatalf("the migration does not meet the key of one instance: %v", err)
	}
	look := strings.TrimSuffix(strings.TrimSpace(pgtest.Block(t, "docs/upgrades.md", "twice-look")), ";")
	if found := d.Text(`SELECT string_agg(instance || ': ' || credentials, '; ') FROM (` + look + `) AS found`); found != "one: c1, c2, c3" {
		t.Errorf("the query finds %q", found)
	}
	d.Exec(pgtest.Block(t, "docs/upgrades.md", "twice-resolve"))
	for query, want := range map[string]string{
		`SELECT string_agg(id, ' ' ORDER BY id) FROM "OpenaiCreds"`:                             "c1 c4 c5 n1 n2",
		`SELECT string_agg(id || '=' || "openaiCredsId", ' ' ORDER BY id) FROM "OpenaiBot"`:     "b1=c1 b2=c1 b4=c4",
		`SELECT string_agg(id || '=' || "openaiCredsId", ' ' ORDER BY id) FROM "OpenaiSetting"`: "s1=c1 s2=c5",
		`SELECT coalesce(string_agg(credentials, ' '), '') FROM (` + look + `) AS found`:        "",
		`SELECT string_agg(migration_name, ' ') FROM (` + failedLook(t) + `) AS found`:          migration,
	} {
		if got := d.Text(query); got != want {
			t.Errorf("%s\nis %q, want %q", query, got, want)
		}
	}
	d.Exec(pgtest.Block(t, "docs/upgrades.md", "failed-resolve"))
	if left := d.Text(`SELECT count(*) FROM (` + failedLook(t) + `) AS found`); left != "0" {
		t.Errorf("%s migrations are still in the way", left)
	}
	d.Exec(`DELETE FROM "_prisma_migrations" WHERE rolled_back_at IS NOT NULL`) // Prisma would add a second row
	if err := futureMigration(t, d, migration, swapUnique); err != nil {
		t.Error(err)
	}
	composeRun(t, d, "docs/upgrades.md", "allowed-revert").Expect(t, 0, "changed=true")
}

// failedLook returns the query of docs/upgrades.md for a migration that failed.
func failedLook(t *testing.T) string {
	t.Helper()
	return strings.TrimSuffix(strings.TrimSpace(pgtest.Block(t, "docs/upgrades.md", "failed-look")), ";")
}

// isUniqueViolation reports whether rows or an index were refused because a value is there twice.
func isUniqueViolation(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "23505"
}
