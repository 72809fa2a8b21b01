package test

import (
	"encoding/json"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestStatusTellsWhatWasFound(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	status := func() map[string]any {
		var line map[string]any
		if err := json.Unmarshal([]byte(d.Patch(pgtest.AllFixes, "PATCH_ACTION=status", "PATCH_LOG_FORMAT=json").Stdout), &line); err != nil {
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
			t.Errorf("found for %s is %q, want %q", fix, got, found)
		}
	}
	expect("apikey-index", "unpatched", `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON evolution_api."OpenaiCreds"`)
	expect("apikey-check", "unpatched", pgtest.NoTrigger)
	expect("name-index", "unpatched", `CREATE UNIQUE INDEX "OpenaiCreds_name_key"`)
	d.Patch("PATCH_FIXES=apikey-check", "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0)
	expect("apikey-index", "patched", `CREATE INDEX "OpenaiCreds_apiKey_key"`)
	expect("apikey-check", "patched", `CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON evolution_api."OpenaiCreds"`)
	expect("name-index", "unpatched", `CREATE UNIQUE INDEX "OpenaiCreds_name_key"`)
	d.Patch("PATCH_FIXES=auto", "PATCH_ACTION=revert").Expect(t, 0)
	d.Patch("PATCH_FIXES=apikey-index").Expect(t, 0)
	d.Patch("PATCH_FIXES=name-index", "PATCH_ACTION=status").Expect(t, 5, "unpatched: ", pgtest.NotInPlace)
	d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
	d.Patch("PATCH_FIXES=apikey-index", "PATCH_ACTION=status").Expect(t, 0, "patched: ", pgtest.NotKept+"OpenaiCreds_apiKey_key")
}

// The output of a dry run can be copied as it is, and contains no escape sequences.
func TestDryRunPrintsNames(t *testing.T) {
	t.Parallel()
	for name, printed := range map[string]string{"two  spaces": `would run: BEGIN; DROP INDEX IF EXISTS public."two  spaces"; COMMIT;`, "red \x1b[31m": `would run: "BEGIN; DROP INDEX IF EXISTS public.\"red \x1b[31m\"`} {
		d := pgtest.NewEvolution(t, "public")
		d.Exec(`ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "` + name + `"`)
		o := d.Patch(pgtest.IndexOnly, pgtest.KeepNoNames, "PATCH_DRY_RUN=true")
		o.Expect(t, 0, "unpatched: ", printed)
		if strings.Contains(o.Stdout, "\x1b") {
			t.Error("the output contains an escape character")
		}
	}
}

func TestOneJSONLineForPrograms(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	for _, changed := range []bool{true, false} {
		o := d.Patch("PATCH_LOG_FORMAT=json")
		o.Expect(t, 0)
		var got map[string]any
		if err := json.Unmarshal([]byte(o.Stdout), &got); err != nil || strings.Count(o.Stdout, "\n") != 1 {
			t.Fatalf("%v in %q", err, o.Stdout)
		}
		want := map[string]any{
			"target": pgtest.Shared.Address() + "/" + d.Name, "schema": "evolution_api", "state": "patched", "changed": changed,
			"evolution": "2.3.7", "error": "",
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %v, want %v", name, got[name], value)
			}
		}
		if got["fixes"].(map[string]any)["apikey-index"] != "patched" {
			t.Errorf("fixes is %v", got["fixes"])
		}
		for line := range strings.Lines(o.Stderr) {
			if !json.Valid([]byte(line)) {
				t.Errorf("a line of the log is not JSON: %s", line)
			}
		}
	}
}
