package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

const guard = "PATCH_ON_MISSING_TABLE=guard"

// firstBoot is an empty database, as Evolution finds it, with the schema that Prisma creates if it is not there.
func firstBoot(t *testing.T, schema string) *database {
	t.Helper()
	return newDatabase(t, schema)
}

// leftovers names everything of the guard's that is in the database.
func (d *database) leftovers() string {
	return d.text(`SELECT coalesce(string_agg(what, ' ' ORDER BY what), '') FROM (SELECT evtname::text FROM pg_event_trigger
		UNION ALL SELECT nspname FROM pg_namespace WHERE nspname LIKE 'evolution_openai_patch%'
		UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'guard%') AS all_of_it(what)`)
}

func TestGuardMakesTheFirstBootRight(t *testing.T) {
	for _, fixes := range []string{
		"apikey-index", "apikey-check", "name-index", "apikey-index,apikey-check", "apikey-index,name-index", "apikey-check,name-index",
		"apikey-index,apikey-check,name-index",
	} {
		for _, role := range []string{"postgres", "evolution_owner"} {
			for _, keep := range []string{"true", "false"} {
				t.Run(fmt.Sprintf("%s/%s/keep=%s", fixes, role, keep), func(t *testing.T) {
					d := firstBoot(t, "evolution_api")
					asked := []string{guard, "PATCH_FIXES=" + fixes, "PATCH_KEEP_INDEX_NAMES=" + keep}
					d.patch(append(asked, "PATCH_DRY_RUN=true")...).expect(t, 0, "pending: ", "CREATE EVENT TRIGGER")
					d.patch(append(asked, "PATCH_ACTION=status")...).expect(t, 0, "pending: ")
					d.patch(asked...).expect(t, 0, "guarded: ", "changed=true")
					d.patch(asked...).expect(t, 0, "guarded: ", "changed=false")
					d.patch(append(asked, "PATCH_ACTION=status")...).expect(t, 0, "guarded: ")

					evolution := d.conn
					if role != "postgres" {
						d.exec(fmt.Sprintf(`DO $$ BEGIN CREATE ROLE %s LOGIN PASSWORD '%s'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`, role, password))
						d.exec(`GRANT ALL ON SCHEMA evolution_api TO ` + role)
						evolution = connectTo(t, uriFor(role, "localhost:"+d.server.port, d.name, ""))
						mustExec(t, evolution, "SET search_path TO evolution_api")
					}
					mustDeploy(t, evolution, "20260506184850")
					if armed := d.text(`SELECT count(*) FROM pg_event_trigger`); armed != "0" {
						t.Errorf("%s event triggers are left", armed)
					}
					d.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
					d.patch(append(asked, "PATCH_ACTION=status")...).expect(t, 0, "patched: ")
					d.patch(asked...).expect(t, 0, "patched: ", "changed=false")
					if left := d.leftovers(); left != "" {
						t.Errorf("left of the guard: %s", left)
					}
					if strings.Contains(fixes, "check") {
						for _, instance := range []string{"i1", "i2"} {
							if d.register("2.3", instance, instance, apiKey) != 201 {
								t.Errorf("instance %s cannot have the key", instance)
							}
						}
						if owner := d.text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != role {
							t.Errorf("the function belongs to %s, the table to %s", owner, role)
						}
					}
				})
			}
		}
	}
}

func mustDeploy(t *testing.T, c *pgx.Conn, last string) {
	t.Helper()
	if err := deploy(c, last); err != nil {
		t.Fatal(err)
	}
}

func TestGuardSurvivesARollback(t *testing.T) {
	d := firstBoot(t, "public")
	d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true")
	d.migrate("20240609181238")
	d.exec(`BEGIN; CREATE TABLE "OpenaiCreds"(id text PRIMARY KEY, "apiKey" varchar(255), name varchar(255));
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name); ROLLBACK`)
	if d.leftovers() == "" {
		t.Fatal("the guard is gone")
	}
	d.migrate("20251122003044")
	d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "patched: ")
	d.patch(allFixes).expect(t, 0, "patched: ", "changed=false")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard: %s", left)
	}
}

// A dump that is restored where a guard waits brings keys without the space, which the guard does not touch: status tells,
// and the next run puts it right.
func TestGuardMeetsARestoredDump(t *testing.T) {
	d := firstBoot(t, "public")
	d.patch(guard).expect(t, 0, "guarded: ")
	d.exec(`CREATE TABLE "Instance"(id text PRIMARY KEY, name text); INSERT INTO "Instance" VALUES ('i1', 'one'), ('i2', 'two');
		CREATE TABLE "_prisma_migrations"(migration_name text, finished_at timestamptz, rolled_back_at timestamptz); INSERT INTO "_prisma_migrations" VALUES ('20251122003044_last', now());
		CREATE TABLE "OpenaiCreds"(id text PRIMARY KEY, name varchar(255), "apiKey" varchar(255), "createdAt" timestamp DEFAULT now(), "updatedAt" timestamp, "instanceId" text);
		INSERT INTO "OpenaiCreds"(id, name, "apiKey", "instanceId") VALUES ('c1', 'one', '` + apiKey + `', 'i1');
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`)
	if got := d.indexes(); strings.Contains(got, "apiKey") {
		t.Errorf("indexes left: %s", got)
	}
	d.patch("PATCH_ACTION=status").expect(t, 5, "unpatched: ", "apikey-index=patched apikey-check=unpatched", "keys without the space: 1")
	d.patch().expect(t, 0, "patched: ", "changed=true")
	if d.register("2.3", "i2", "two", apiKey) != 201 {
		t.Error("the second instance is refused")
	}
}

func TestGuardLeavesOthersAlone(t *testing.T) {
	d := firstBoot(t, "evolution_api")
	d.patch(guard).expect(t, 0, "guarded: ")
	d.exec(`CREATE SCHEMA another; CREATE TABLE another."OpenaiCreds" ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON another."OpenaiCreds"("apiKey");
		CREATE TABLE somebodys ("apiKey" text); CREATE UNIQUE INDEX "somebodys_key" ON somebodys("apiKey")`)
	if got := d.text(`SELECT count(*) FROM pg_indexes WHERE indexname IN ('OpenaiCreds_apiKey_key', 'somebodys_key')`); got != "2" {
		t.Errorf("%s of 2 indexes are left", got)
	}
	if d.leftovers() == "" {
		t.Error("the guard is gone")
	}
}

// A guard that never fired goes when the table is found, or with revert; another set of fixes arms it anew.
func TestGuardIsRemoved(t *testing.T) {
	d := evolution(t, "public")
	dump := d.dump()
	d.exec(`ALTER TABLE "OpenaiCreds" RENAME TO hidden`)
	d.patch(guard).expect(t, 0, "guarded: ", "changed=true")
	d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=true")
	d.patch(guard, allFixes).expect(t, 0, "guarded: ", "changed=false")
	d.patch("PATCH_ACTION=revert").expect(t, 0, "pending: ", "changed=true")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard after revert: %s", left)
	}
	d.patch(guard).expect(t, 0, "guarded: ", "changed=true")
	d.exec(`ALTER TABLE hidden RENAME TO "OpenaiCreds"`)
	d.patch(guard).expect(t, 0, "patched: ", "changed=true")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard after apply: %s", left)
	}
	d.patch("PATCH_ACTION=revert").expect(t, 0, "unpatched: ")
	if after := d.dump(); sorted(after) != sorted(dump) {
		t.Error(firstDifference(dump, after))
	}
}

func TestGuardNeedsRights(t *testing.T) {
	d := firstBoot(t, "public")
	d.exec(fmt.Sprintf(`DO $$ BEGIN CREATE ROLE no_superuser LOGIN PASSWORD '%s'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`, password))
	d.exec(`GRANT CREATE ON DATABASE ` + d.name + ` TO no_superuser`)
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+d.uriAs("no_superuser"), guard).
		expect(t, 0, "pending: ", "level=WARN", "the guard cannot be armed", "PATCH_WATCH", "PATCH_ON_MISSING_TABLE=wait")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard: %s", left)
	}
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+shared.uri("not_there_yet", ""), guard).expect(t, 0, "pending: ", `database \"not_there_yet\" does not exist, so no guard can be armed`, "PATCH_WATCH", "PATCH_ON_MISSING_TABLE=wait")
}

// There is nothing to back up before there is a table.
func TestGuardNeedsNoBackup(t *testing.T) {
	d := firstBoot(t, "public")
	backup := "PATCH_BACKUP_DIR=" + t.TempDir()
	d.patch(guard, backup).expect(t, 0, "guarded: ", "changed=true")
	d.patch("PATCH_ACTION=revert", backup).expect(t, 0, "pending: ", "changed=true")
	if left := d.leftovers(); left != "" {
		t.Errorf("left of the guard: %s", left)
	}
}

func TestGuardArmedByFiftyAtOnce(t *testing.T) {
	firstBoot(t, "public").fiftyAtOnce("guarded: ", guard, allFixes)
}

func TestWaitForTheTable(t *testing.T) {
	const wait = "PATCH_ON_MISSING_TABLE=wait"
	d := firstBoot(t, "public")
	d.patch(wait, "PATCH_WAIT_TIMEOUT=300ms").expect(t, 4, "failed: ", "Evolution creates it on its first start", "set PATCH_ON_MISSING_TABLE=guard")
	d.patch(wait, "PATCH_ACTION=status").expect(t, 0, "pending: ")
	d.patch(wait, "PATCH_DRY_RUN=true").expect(t, 0, "pending: ")
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+shared.uri("never_there", ""), wait, "PATCH_WAIT_TIMEOUT=300ms").expect(t, 4, `database \"never_there\" does not exist`)

	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), wait)
	p.says("does not exist")
	d.migrate("20251122003044")
	p.end().expect(t, 0, "patched: ", "changed=true")

	d.patch("PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
	d.exec(`UPDATE "_prisma_migrations" SET finished_at = NULL WHERE migration_name LIKE '20251122%'`)
	d.patch(wait, "PATCH_WAIT_TIMEOUT=300ms").expect(t, 4, "a migration was begun and has not finished")
	d.exec(`UPDATE "_prisma_migrations" SET finished_at = now()`)
	d.patch(wait).expect(t, 0, "patched: ", "changed=true")
}
