package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const allFixes = "PATCH_FIXES=apikey-index,apikey-check,name-index"

// register does what POST /openai/creds/{instance} does, from 2.3.0 on with the question first, and returns the HTTP status.
func (d *database) register(release, instance, name, key string) int {
	d.t.Helper()
	ctx := context.Background()
	table := pgx.Identifier{d.schema, "OpenaiCreds"}.Sanitize()
	if release >= "2.3" {
		var id string
		err := d.conn.QueryRow(ctx, `SELECT id FROM `+table+` WHERE "apiKey" = $1 LIMIT 1 OFFSET 0`, key).Scan(&id)
		if err == nil {
			return 400
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			d.t.Fatal(err)
		}
	}
	var id, stored string
	err := d.conn.QueryRow(ctx, `INSERT INTO `+table+` ("id","name","apiKey","createdAt","updatedAt","instanceId") VALUES ($1,$2,$3,now(),now(),$4)
		RETURNING "id","apiKey"`, fmt.Sprintf("%s/%s/%d", instance, name, len(key)), name, key, instance).Scan(&id, &stored)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "23505":
		return 500
	case err != nil:
		d.t.Fatal(err)
	case strings.TrimRight(stored, " ") != strings.TrimRight(key, " "):
		d.t.Errorf("%q was stored for %q", stored, key)
	}
	return 201
}

// What comes out for three instances with one key, by release and by fixes: the table that the README gives.
func TestWhatEvolutionSends(t *testing.T) {
	for _, c := range []struct {
		fixes            string
		old, now         int // second and third instance, different names: Evolution 2.2, 2.3
		sameOld, sameNow int // the same name
	}{
		{"", 500, 400, 500, 400},
		{"apikey-index", 201, 400, 500, 400},
		{"name-index", 500, 400, 500, 400},
		{"apikey-index,name-index", 201, 400, 201, 400},
		{"apikey-check", 201, 201, 500, 500},
		{"apikey-index,apikey-check", 201, 201, 500, 500},
		{"apikey-index,apikey-check,name-index", 201, 201, 201, 201},
	} {
		for _, before := range []bool{true, false} { // whether the first key is there already
			for _, keep := range []string{"true", "false"} {
				t.Run(fmt.Sprintf("%s/first=%t/keep=%s", c.fixes, before, keep), func(t *testing.T) {
					for release, want := range map[string][2]int{"2.2": {c.old, c.sameOld}, "2.3": {c.now, c.sameNow}} {
						for i, same := range []bool{false, true} {
							d := evolution(t, "evolution_api")
							names := []string{"one", "two", "three"}
							if same {
								names = []string{"one", "one", "one"}
							}
							if before && d.register(release, "i1", names[0], apiKey) != 201 {
								t.Fatal("the first key is refused")
							}
							if c.fixes != "" {
								d.patch("PATCH_FIXES="+c.fixes, "PATCH_KEEP_INDEX_NAMES="+keep).expect(t, 0, "patched: ", "changed=true")
								d.patch("PATCH_FIXES="+c.fixes, "PATCH_KEEP_INDEX_NAMES="+keep).expect(t, 0, "patched: ", "changed=false")
							}
							if !before && d.register(release, "i1", names[0], apiKey) != 201 {
								t.Fatal("the first key is refused")
							}
							for n, instance := range []string{"i2", "i3"} {
								if got := d.register(release, instance, names[n+1], apiKey); got != want[i] {
									t.Errorf("Evolution %s, %s, same name %t: %d, want %d", release, instance, same, got, want[i])
								}
							}
						}
					}
				})
			}
		}
	}
}

// Migrations that Evolution may bring one day must pass, and its statements must go on working.
func TestFutureMigrations(t *testing.T) {
	insert := `INSERT INTO "OpenaiCreds"(id, %s name, "updatedAt", "instanceId") VALUES ('new', %s 'new', now(), 'i2')`
	for name, sql := range map[string]string{
		"unique goes":   `DROP INDEX "OpenaiCreds_apiKey_key"; DROP INDEX "OpenaiCreds_name_key"`,
		"rename":        `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "credentials_key"; ALTER INDEX "OpenaiCreds_name_key" RENAME TO other`,
		"type":          `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE TEXT`,
		"narrower":      `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE VARCHAR(100)`,
		"drop column":   `ALTER TABLE "OpenaiCreds" DROP COLUMN "apiKey"`,
		"rename column": `ALTER TABLE "OpenaiCreds" RENAME COLUMN "apiKey" TO "secret"`,
		"rename table":  `ALTER TABLE "OpenaiCreds" RENAME TO "Credentials"`,
		"other type":    `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE JSONB USING to_jsonb("apiKey")`,
		"not null":      `ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" SET NOT NULL`,
		"the next one":  `ALTER TABLE "OpenaiBot" ADD COLUMN "systemMessages" JSONB`,
		"drop table":    `DROP TABLE "OpenaiCreds" CASCADE`,
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.register("2.3", "i1", "one", apiKey)
			d.patch(allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=true")
			d.exec("BEGIN;" + sql + ";COMMIT")
			table, column, value := "OpenaiCreds", `"apiKey",`, "'k',"
			switch name {
			case "drop table":
				return
			case "drop column":
				column, value = "", ""
			case "rename column":
				column = `"secret",`
			case "rename table":
				table = "Credentials"
			case "other type":
				value = `'"k"',`
			}
			d.exec(strings.ReplaceAll(fmt.Sprintf(insert, column, value), "OpenaiCreds", table))
			d.exec(fmt.Sprintf(`UPDATE %q SET name = 'newer', "updatedAt" = now() WHERE id = 'new'`, table))
			d.exec(fmt.Sprintf(`DELETE FROM %q WHERE id = 'new'`, table))
			if name == "unique goes" || name == "type" || name == "the next one" {
				d.patch(allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ")
				if d.register("2.3", "i2", "two", apiKey) != 201 {
					t.Error("the shared key is refused")
				}
			}
		})
	}
}

// rows fills the table, with keys of every kind, and an untidy one where asked for.
func (d *database) rows(n int) {
	d.exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "createdAt", "updatedAt", "instanceId")
		SELECT 'c' || i, 'name ' || i, CASE i % 10 WHEN 3 THEN NULL WHEN 4 THEN lpad(i::text, 254, 'x') WHEN 5 THEN lpad(i::text, 255, 'x') ELSE 'sk-' || i END,
			'2026-01-01', '2026-01-01', 'i1' FROM generate_series(1, $1) AS i`, n)
}

// sorted is a dump in which the order of rows, which an UPDATE changes, does not count.
func sorted(dump string) string {
	return regexp.MustCompile(`(?s)( FROM stdin;\n)(.*?)(\n?\\\.\n)`).ReplaceAllStringFunc(dump, func(block string) string {
		lines := strings.Split(block, "\n")
		slices.Sort(lines[1:])
		return strings.Join(lines, "\n")
	})
}

func TestRevertLeavesTheDatabaseAsItWas(t *testing.T) {
	for _, fixes := range []string{
		"apikey-index", "apikey-check", "name-index", "apikey-index,apikey-check", "apikey-index,name-index", "apikey-check,name-index",
		"apikey-index,apikey-check,name-index",
	} {
		for _, rows := range []int{0, 1, 10_000} {
			for _, keep := range []string{"true", "false"} {
				t.Run(fmt.Sprintf("%s/%d/keep=%s", fixes, rows, keep), func(t *testing.T) {
					d := evolution(t, "evolution_api")
					d.rows(rows)
					before := sorted(d.dump())
					d.patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=false")
					o := d.patch("PATCH_FIXES="+fixes, "PATCH_KEEP_INDEX_NAMES="+keep)
					o.expect(t, 0, "patched: ", "changed=true")
					if check := strings.Contains(fixes, "check"); check && rows == 10_000 {
						o.expect(t, 0, "keys that fill their column cannot take the space", "keys=1000")
						if got := d.text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" LIKE '% '`); got != "8000" {
							t.Errorf("%s keys end in a space, want 8000", got)
						}
					}
					d.patch("PATCH_FIXES="+fixes, "PATCH_KEEP_INDEX_NAMES="+keep).expect(t, 0, "patched: ", "changed=false")
					d.patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
					if after := sorted(d.dump()); after != before {
						t.Errorf("the dump differs:\n%s", firstDifference(before, after))
					}
					d.patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=false")
				})
			}
		}
	}
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range as {
		if i >= len(bs) || as[i] != bs[i] {
			return fmt.Sprintf("-%s\n+%s", as[i], strings.Join(bs[min(i, len(bs)):min(i+1, len(bs))], ""))
		}
	}
	return "+" + strings.Join(bs[len(as):], "\n+")
}

// Keys that end in spaces before the patch are patched too, and revert gives each back as it was, from a dump as well.
func TestKeysThatEndInSpacesComeBack(t *testing.T) {
	d := evolution(t, "evolution_api")
	for id, key := range map[string]string{"plain": "sk-plain", "one": "sk-one ", "two": "sk-two  ", "same": "sk-plain   ", "blank": "   ", `odd'"\n`: "sk-odd\t ", "full": strings.Repeat("f", 250) + "     "} {
		d.exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ($1, $2, now(), 'i1')`, id, key)
	}
	before := sorted(d.dump())
	for _, fixes := range []string{"auto", "apikey-check", "apikey-index,apikey-check,name-index"} {
		d.patch("PATCH_FIXES="+fixes).expect(t, 0, "patched: ", "changed=true")
		if got := d.text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" = rtrim("apiKey") || ' '`); got != "7" {
			t.Errorf("%s of 7 keys end in one space", got)
		}
		d.exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER`)
		d.patch("PATCH_FIXES="+fixes).expect(t, 0, "patched: ", "changed=true")
		d.patch("PATCH_FIXES="+fixes).expect(t, 0, "patched: ", "changed=false")
		d.patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
		if after := sorted(d.dump()); after != before {
			t.Error(firstDifference(before, after))
		}
	}
}

// The default does what one key in several instances needs, and takes back whatever is there.
func TestAuto(t *testing.T) {
	for last, fixes := range map[string]string{"20250116001415": "apikey-index=patched evolution", "20250613143000": "apikey-index=patched apikey-check=patched evolution"} {
		d := newDatabase(t, "public")
		d.migrate(last)
		d.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
		release := "2.2"
		if last >= "20250613143000" {
			release = "2.3"
		}
		d.register(release, "i1", "one", apiKey)
		before := sorted(d.dump())
		d.patch("PATCH_ACTION=status").expect(t, 5, "unpatched: ")
		d.patch().expect(t, 0, "patched: ", "changed=true", fixes, "Error creating openai creds", "PATCH_FIXES=auto,name-index")
		d.patch("PATCH_ACTION=status").expect(t, 0, "patched: ", fixes)
		if d.register(release, "i2", "two", apiKey) != 201 {
			t.Error("the second instance is refused")
		}
		d.exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" = 'i2'`)
		d.patch("PATCH_FIXES=auto,name-index").expect(t, 0, "patched: ", "changed=true", "name-index=patched")
		d.patch("PATCH_ACTION=status").expect(t, 0, "patched: ", "name-index=patched")
		d.patch("PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true", "name-index=unpatched")
		if after := sorted(d.dump()); after != before {
			t.Error(firstDifference(before, after))
		}
	}
	d := firstBoot(t, "public")
	d.patch(guard).expect(t, 0, "guarded: ", "apikey-index=guarded apikey-check=guarded")
	d.migrate("20251122003044")
	d.patch().expect(t, 0, "patched: ", "changed=false", "apikey-check=patched")
	d.patch(indexOnly).expect(t, 0, "patched: ", "changed=false")
	if o := d.patch(indexOnly, "PATCH_ACTION=status"); strings.Contains(o.stderr, "not enough") {
		t.Error("a warning although the trigger is there")
	}
}

// Whatever is written to a patched table ends in exactly one space.
func TestEveryStoredKeyEndsInOneSpace(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.patch("PATCH_FIXES=apikey-check").expect(t, 0, "patched: ")
	for key, want := range map[string]string{"a": "a ", "b ": "b ", "c   ": "c ", "": " ", strings.Repeat("d", 254): strings.Repeat("d", 254) + " ", strings.Repeat("e", 255): strings.Repeat("e", 255)} {
		d.exec(`DELETE FROM "OpenaiCreds"`)
		d.exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('x', $1, now(), 'i1')`, key)
		if got := d.text(`SELECT "apiKey" FROM "OpenaiCreds"`); got != want {
			t.Errorf("%q is stored as %q, want %q", key, got, want)
		}
		d.exec(`UPDATE "OpenaiCreds" SET "apiKey" = $1`, key)
		if got := d.text(`SELECT "apiKey" FROM "OpenaiCreds"`); got != want {
			t.Errorf("%q is updated to %q, want %q", key, got, want)
		}
	}
	d.exec(`UPDATE "OpenaiCreds" SET "apiKey" = NULL`)
	d.patch("PATCH_FIXES=apikey-check").expect(t, 0, "changed=false")
}

// What is not exactly as the program creates it is somebody else's: it is named, and neither replaced nor dropped.
func TestForeignPaddingIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ sql, says string }{
		"other body":       {`CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`, "function"},
		"definer":          {`ALTER FUNCTION evolution_openai_patch() SECURITY DEFINER`, "function"},
		"no settings":      {`ALTER FUNCTION evolution_openai_patch() RESET ALL`, "function"},
		"immutable":        {`ALTER FUNCTION evolution_openai_patch() IMMUTABLE`, "function"},
		"another's":        {`CREATE ROLE %[1]s_other; ALTER FUNCTION evolution_openai_patch() OWNER TO %[1]s_other`, "function"},
		"with columns":     {`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE OF "apiKey" ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`, "trigger"},
		"with a condition": {`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (NEW.name = 'x') EXECUTE FUNCTION evolution_openai_patch()`, "trigger"},
		"insert only":      {`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`, "trigger"},
		"another function": {`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION nothing()`, "trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.register("2.3", "i1", "one", apiKey)
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
			sql := c.sql
			if strings.Contains(sql, "%[1]s") {
				sql = fmt.Sprintf(sql, d.name)
			}
			d.exec(sql)
			before := d.dump()
			for _, action := range []string{"status", "apply", "revert"} {
				d.patch(allFixes, "PATCH_ACTION="+action).expect(t, 3, "failed: ", "changed=false", "refused, and nothing was changed: "+c.says)
			}
			if after := d.dump(); after != before {
				t.Error(firstDifference(before, after))
			}
		})
	}
}

// What has come undone is put right again: a trigger dropped or disabled, keys that slipped past it.
func TestRepairs(t *testing.T) {
	for name, sql := range map[string]string{
		"trigger dropped":  `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`,
		"trigger disabled": `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`,
		"index is back":    `CREATE UNIQUE INDEX "OpenaiCreds_name_key2" ON "OpenaiCreds"(name)`,
		"key slipped past": `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER; INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('slip', 'slipped', now(), 'i3'); ALTER TABLE "OpenaiCreds" ENABLE TRIGGER USER`,
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.register("2.3", "i1", "one", apiKey)
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
			d.exec(sql)
			d.patch(allFixes, "PATCH_ACTION=status").expect(t, 5, "unpatched: ")
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
			d.patch(allFixes, "PATCH_ACTION=status").expect(t, 0, "patched: ")
			if d.register("2.3", "i2", "one", apiKey) != 201 {
				t.Error("the shared key is refused")
			}
		})
	}
}

func TestRevertRefusesDuplicates(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.patch(allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ")
	for _, instance := range []string{"i1", "i2", "i3"} {
		if d.register("2.3", instance, "shared name", apiKey) != 201 {
			t.Fatal("the shared key is refused")
		}
	}
	d.register("2.3", "i1", "short", "short")
	d.register("2.3", "i2", "short too", "short")
	before := d.dump()
	d.patch(allFixes, "PATCH_ACTION=revert").expect(t, 3, "failed: ", "credentials share a value", "…0123 in i1/shared name/36", "name shared name, instance i1",
		"instance i2", "instance i3", "… in i1/short/5", "shared name in ")
	if d.dump() != before {
		t.Error("it changed something")
	}
	d.exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" <> 'i1'`)
	d.patch(allFixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
	if got := d.text(`SELECT string_agg("apiKey", '|' ORDER BY "apiKey") FROM "OpenaiCreds"`); got != "short|"+apiKey && got != apiKey+"|short" {
		t.Errorf("keys are %q", got)
	}
}

func TestStatusTellsWhatWasFound(t *testing.T) {
	d := evolution(t, "evolution_api")
	status := func() map[string]any {
		var line map[string]any
		if err := json.Unmarshal([]byte(d.patch(allFixes, "PATCH_ACTION=status", "PATCH_LOG_FORMAT=json").stdout), &line); err != nil {
			t.Fatal(err)
		}
		return line
	}
	expect := func(fix, state, found string) {
		t.Helper()
		line := status()
		if got := line["fixes"].(map[string]any)[fix]; got != state {
			t.Errorf("%s is %v, want %s", fix, got, state)
		}
		if got := line["found"].(map[string]any)[fix].(string); !strings.Contains(got, found) {
			t.Errorf("%s was found as %q, want %q", fix, got, found)
		}
	}
	expect("apikey-index", "unpatched", `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON evolution_api."OpenaiCreds"`)
	expect("apikey-check", "unpatched", `no padding trigger`)
	expect("name-index", "unpatched", `CREATE UNIQUE INDEX "OpenaiCreds_name_key"`)
	d.patch("PATCH_FIXES=apikey-check", "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0)
	expect("apikey-index", "patched", `CREATE INDEX "OpenaiCreds_apiKey_key"`)
	expect("apikey-check", "patched", `CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON evolution_api."OpenaiCreds"`)
	expect("name-index", "unpatched", `CREATE UNIQUE INDEX "OpenaiCreds_name_key"`)
	d.patch("PATCH_FIXES=auto", "PATCH_ACTION=revert").expect(t, 0)
	d.patch("PATCH_FIXES=apikey-index").expect(t, 0)
	d.patch("PATCH_FIXES=apikey-index", "PATCH_KEEP_INDEX_NAMES=true", "PATCH_ACTION=status").
		expect(t, 5, "unpatched: ", "the fix is not in place", "no plain index under the name OpenaiCreds_apiKey_key")
}

// What a dry run prints can be copied as it is, and nothing in it reaches the terminal as a command.
func TestDryRunPrintsNames(t *testing.T) {
	for name, printed := range map[string]string{"two  spaces": `would run: BEGIN; DROP INDEX IF EXISTS public."two  spaces"; COMMIT;`, "red \x1b[31m": `would run: "BEGIN; DROP INDEX IF EXISTS public.\"red \x1b[31m\"`} {
		d := evolution(t, "public")
		d.exec(`ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "` + name + `"`)
		o := d.patch(indexOnly, "PATCH_DRY_RUN=true")
		o.expect(t, 0, "unpatched: ", printed)
		if strings.Contains(o.stdout, "\x1b") {
			t.Error("an escape sequence")
		}
	}
}

// psqlFile restores a file as a user would.
func (d *database) psqlFile(file string) {
	d.t.Helper()
	cmd, err := pgProgram("psql", "-X", "-q", "-h", "localhost", "-p", d.server.port, "-U", "postgres", "-d", d.name)
	if err != nil {
		d.t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERROR") {
		d.t.Fatalf("psql: %v\n%s", err, out)
	}
}

func TestBackup(t *testing.T) {
	for name, sql := range map[string]string{
		"as shipped": "SELECT 1",
		"constraint": `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "my constraint" UNIQUE ("apiKey")`,
		"names":      `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "another name"`,
		"half done":  `DROP INDEX "OpenaiCreds_name_key"; CREATE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`,
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.rows(300)
			d.exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('odd', E'tab\t line\n back\\slash \\N', 'ключ', now(), 'i1')`)
			d.exec(`INSERT INTO "OpenaiBot"(id, "openaiCredsId", "instanceId") VALUES ('bot', 'odd', 'i1')`)
			d.exec(sql)
			before := sorted(d.dump())
			dir := t.TempDir()
			d.patch(allFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_ACTION=status").expect(t, 5)
			d.patch(allFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_DRY_RUN=true").expect(t, 0)
			if files, _ := os.ReadDir(dir); len(files) != 0 {
				t.Error("a backup although nothing was changed")
			}
			d.patch(allFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=true", "backed up")
			d.patch(allFixes, "PATCH_BACKUP_DIR="+dir, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "changed=false")
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) != 1 || !strings.HasSuffix(files[0], ".sql") {
				t.Fatalf("%v %v", files, err)
			}
			if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
				t.Errorf("%v %v", info.Mode(), err)
			}
			d.exec(`DELETE FROM "OpenaiCreds" WHERE id = 'c1'`)
			d.psqlFile(files[0])
			if after := sorted(d.dump()); after != before {
				t.Errorf("restored onto the patched database:\n%s", firstDifference(before, after))
			}
			d.patch(allFixes).expect(t, 0, "patched: ", "changed=true")
			d.patch(allFixes, "PATCH_ACTION=revert").expect(t, 0, "changed=true")
			d.psqlFile(files[0])
			if after := sorted(d.dump()); after != before {
				t.Errorf("restored onto the reverted database:\n%s", firstDifference(before, after))
			}
		})
	}
}

// However many credentials there are, neither a change nor a backup takes more memory.
func TestMemoryDoesNotGrow(t *testing.T) {
	used := map[int]int64{} // kB, by the number of rows
	for _, rows := range []int{10, 200_000} {
		d := evolution(t, "evolution_api")
		d.rows(rows)
		p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), allFixes, "PATCH_BACKUP_DIR="+t.TempDir())
		p.end().expect(t, 0, "patched: ", "changed=true", "backed up")
		used[rows] = int64(p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) // where it has 32 bits, too
	}
	if t.Logf("kB by rows: %v", used); used[200_000] > used[10]+4<<10 {
		t.Error("memory grows with the rows")
	}
}

// A database without an encoding may hold bytes that are no text anywhere.
func TestBytesThatAreNoText(t *testing.T) {
	name := newDatabase(t, "public").name + "_ascii"
	shared.connect(t, "postgres").Exec(context.Background(), "CREATE DATABASE "+name+" ENCODING SQL_ASCII TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	d := &database{t: t, server: shared, name: name, schema: "public", conn: shared.connect(t, name)}
	d.migrate("20251122003044")
	d.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', E'caf\xe9'), ('i2', 'two')`)
	d.exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('one', E'caf\xe9', E'sk-\xe9\xff', now(), 'i1')`)
	before := sorted(d.dump())
	dir := t.TempDir()
	d.patch(allFixes, "PATCH_BACKUP_DIR="+dir).expect(t, 0, "patched: ", "changed=true")
	d.exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('two', E'caf\xe9', E'sk-\xe9\xff', now(), 'i2')`)
	d.patch(allFixes, "PATCH_ACTION=revert").expect(t, 3, "failed: ", "credentials share a value", "one (name caf")
	d.exec(`DELETE FROM "OpenaiCreds" WHERE id = 'two'`)
	files, _ := filepath.Glob(filepath.Join(dir, "*.sql"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	d.psqlFile(files[0])
	if after := sorted(d.dump()); after != before {
		t.Error(firstDifference(before, after))
	}
}

func TestBackupThatCannotBeWritten(t *testing.T) {
	d := evolution(t, "evolution_api")
	before := d.dump()
	for _, dir := range []string{"/no/such/folder", "/dev/null", "/proc"} {
		d.patch("PATCH_BACKUP_DIR="+dir).expect(t, 2, "PATCH_BACKUP_DIR: cannot be written", "user 65532")
	}
	if d.dump() != before {
		t.Error("it changed something")
	}
}

// A first boot that was interrupted has left a table without the column of a later migration: that fix is not due yet.
func TestInterruptedFirstBoot(t *testing.T) {
	for _, mode := range []string{"PATCH_ON_MISSING_TABLE=continue", guard} {
		d := newDatabase(t, "public")
		d.migrate("20240718121437") // its table has no column "name"
		d.patch("PATCH_ACTION=status", allFixes, mode).expect(t, 5, "unpatched: ", "name-index=pending")
		d.patch(allFixes, mode).expect(t, 0, "pending: ", "changed=true", "apikey-index=patched apikey-check=patched name-index=pending")
		d.patch(allFixes, mode).expect(t, 0, "pending: ", "changed=false")
		p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), allFixes, "PATCH_WATCH=100ms", "PATCH_ON_MISSING_TABLE=wait")
		p.says("state=pending every=")
		d.migrate("20251122003044")
		p.says("is=patched")
		p.stop(syscall.SIGTERM).expect(t, 0, "patched: ", "name-index=patched")
		d.exec(`ALTER TABLE "OpenaiCreds" DROP COLUMN name`)
		d.patch(allFixes, mode).expect(t, 3, "failed: ", "has no column")
	}
}

// Fifty at once with all that they can do.
func TestFiftyAtOnceWithAllFixes(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.rows(500)
	d.fiftyAtOnce("patched: ", allFixes, "PATCH_KEEP_INDEX_NAMES=true")
}
