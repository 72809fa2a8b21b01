package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// remedy returns the SQL at the end of the line of the report, or in its JSON.
func remedy(t *testing.T, o pgtest.Outcome) (sql string) {
	t.Helper()
	if strings.HasPrefix(o.Stdout, "{") {
		var line struct{ Remedy string }
		if err := json.Unmarshal([]byte(o.Stdout), &line); err != nil {
			t.Fatal(err)
		}
		sql = line.Remedy
	} else {
		_, sql, _ = strings.Cut(strings.TrimSuffix(o.Stdout, "\n"), " remedy: ")
	}
	if sql == "" || strings.Contains(sql, "\n") {
		t.Fatalf("the remedy is %q, want one line", sql)
	}
	return sql
}

// insertCredential inserts a credential of the first instance, and a bot that uses it. A name or key is an SQL expression.
func insertCredential(d *pgtest.Database, id, name, key string) {
	d.Exec(fmt.Sprintf(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('%s', %s, %s, '2026-01-01', 'i1')`, id, name, key))
	d.Exec(fmt.Sprintf(`INSERT INTO "OpenaiBot"(id, "openaiCredsId", "instanceId") VALUES ('bot of %[1]s', '%[1]s', 'i1')`, id))
}

func TestRevertRefusesDuplicates(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch(pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ")
	for _, instance := range []string{"i1", "i2", "i3"} {
		if d.Register("2.3", instance, "shared name", pgtest.APIKey) != 201 {
			t.Fatal("the shared key is refused")
		}
	}
	d.Register("2.3", "i1", "short", "short")
	d.Register("2.3", "i2", "short too", "short")
	before := d.Dump()
	o := d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert")
	o.Expect(t, 3, "failed: ", pgtest.SharedValue, " apikey-index=patched apikey-check=patched name-index=patched ",
		"…0123"+pgtest.Listed+"i1/shared name/36 (shared name) of instance one"+pgtest.ChangedIn+"i2/shared name/36 (shared name) of instance two, i3/",
		" of instance three", "…"+pgtest.Listed+"i1/short/5", "shared name"+pgtest.Listed)
	d.ExpectDump(before)
	d.Restore(pgtest.TempFile(t, remedy(t, o)))
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	want := "'short' 'short-i2/short too/5' 'KEY' 'KEY-i2/shared name/36' 'KEY-i3/shared name/36'"
	if got := d.Text(`SELECT string_agg(quote_literal("apiKey"), ' ' ORDER BY "apiKey" LIKE 'sk-%', id) FROM "OpenaiCreds"`); got != strings.ReplaceAll(want, "KEY", pgtest.APIKey) {
		t.Errorf("the keys are %s", got)
	}
}

// The remedy changes what two credentials share in all but the first of them, and nothing else. It executes as it is
// printed, whatever the schema is called and however long the values are.
func TestRemedy(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			d := pgtest.NewEvolution(t, `Evolution "API" 'x'`)
			insertCredential(d, "spaces", "'spaces'", "'sk-spaces   '")
			insertCredential(d, "plain", "'plain'", "'sk-plain'")
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			for _, id := range []string{"b", "C", "a"} { // C is the first
				for _, n := range []int{5, 254, 255} {
					insertCredential(d, fmt.Sprintf("%s%d", id, n), fmt.Sprintf("'only ' || '%s%d'", id, n), fmt.Sprintf("repeat('k', %d)", n))
					insertCredential(d, fmt.Sprintf("%s-name%d", id, n), fmt.Sprintf("repeat('n', %d)", n), fmt.Sprintf("'only ' || '%s%d'", id, n))
				}
				insertCredential(d, id+"-null", "NULL", "NULL")
			}
			insertCredential(d, "other", "'nnnnn '", "'kkkkkk'")                       // a name may end in a space
			d.Exec(`ALTER TABLE "OpenaiCreds" ALTER id TYPE text COLLATE "und-x-icu"`) // in which C is the last
			rows := d.Text(`SELECT string_agg(concat_ws('|', c.id, b.id), ' ' ORDER BY b.id) FROM "OpenaiBot" b LEFT JOIN "OpenaiCreds" c ON c.id = "openaiCredsId"`)
			d.Exec(`CREATE TEMPORARY TABLE before AS SELECT * FROM "OpenaiCreds"`)

			o := d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert", "PATCH_LOG_FORMAT="+format)
			o.Expect(t, 3, pgtest.SharedValue)
			o.ExpectNot(t, "-null (", "other (", "plain (")
			if sql := remedy(t, o); format == "json" {
				d.Exec(sql)
			} else {
				d.Restore(pgtest.TempFile(t, sql))
			}
			changed := func(column string) string {
				return d.Text(`SELECT string_agg(id, ' ' ORDER BY id COLLATE "C") FROM "OpenaiCreds" JOIN before USING (id) WHERE "OpenaiCreds"."` + column + `" IS DISTINCT FROM before."` + column + `"`)
			}
			if got := changed("apiKey"); got != "a254 a255 a5 b254 b255 b5" {
				t.Errorf("the remedy changed the keys of %s", got)
			}
			if got := changed("name"); got != "a-name254 a-name255 a-name5 b-name254 b-name255 b-name5" {
				t.Errorf("the remedy changed the names of %s", got)
			}
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			if got := d.Text(`SELECT string_agg(concat_ws('|', c.id, b.id), ' ' ORDER BY b.id) FROM "OpenaiBot" b LEFT JOIN "OpenaiCreds" c ON c.id = "openaiCredsId"`); got != rows {
				t.Errorf("the credentials and their bots are %s\nwant %s", got, rows)
			}
			if got := d.Text(`SELECT string_agg(quote_literal("apiKey"), ' ' ORDER BY id) FROM "OpenaiCreds" WHERE id IN ('a5', 'C5', 'plain', 'spaces')`); got != `'kkkkk-a5' 'kkkkk' 'sk-plain' 'sk-spaces'` {
				t.Errorf("the keys are %s", got)
			}
		})
	}
}

// Of many groups and members some are listed, and no key travels.
func TestRevertListsFewDuplicates(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch(pgtest.IndexOnly+",apikey-check").Expect(t, 0, "patched: ")
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
		SELECT 'c' || lpad(i::text, 3, '0'), 'name ' || i, CASE WHEN i <= 30 THEN 'sk-shared-by-thirty' ELSE 'sk-shared-by-two-' || i / 2 END, now(), 'i1' FROM generate_series(1, 301) AS i`)
	d.Exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER; UPDATE "OpenaiCreds" SET "apiKey" = rtrim("apiKey") WHERE id = 'c030'; ALTER TABLE "OpenaiCreds" ENABLE TRIGGER USER`)
	o := d.Patch("PATCH_FIXES=apikey-index,apikey-check", "PATCH_ACTION=revert")
	o.Expect(t, 3, pgtest.SharedValue, "…irty"+pgtest.Listed+"c001 (name 1) of instance one"+pgtest.ChangedIn+"c002 ", "c020 (name 20) of instance one, 10 ", "…-100"+pgtest.Listed+"c200 ")
	o.ExpectNot(t, "c021", "sk-shared")
	if listed := strings.Count(o.Stdout, "(name "); listed > 60 || len(o.Stdout) > 8<<10 {
		t.Errorf("the line has %d credentials and %d bytes", listed, len(o.Stdout))
	}
}

// Somebody who keeps the table of the instances in use does not hold up the refusal, which then shows their ids.
func TestRevertDoesNotWaitForNames(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
	d.Register("2.3", "i1", "one", pgtest.APIKey)
	d.Register("2.3", "i2", "two", pgtest.APIKey)
	other := d.Server.Connect(t, d.Name)
	pgtest.Exec(t, other, `BEGIN; LOCK TABLE evolution_api."Instance" IN ACCESS EXCLUSIVE MODE`)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, pgtest.Listed, "(one) of instance i1", "(two) of instance i2")
}
