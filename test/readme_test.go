package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"evolution-openai-patch/test/pgtest"
)

// The instructions for undoing the fixes by hand work as written.
func TestUndoByHand(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(20)
	before := d.SortedDump()
	d.Patch("PATCH_FIXES=apikey-check", "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
	d.Exec(pgtest.Block(t, "docs/reference.md", "undo"))
	d.ExpectSortedDump(before)
}

// The instructions for removing a guard by hand work as written.
func TestUndoGuard(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	before := d.Dump()
	d.Patch(pgtest.Guard, pgtest.AllFixes).Expect(t, 0, "guarded: ")
	d.Exec(pgtest.Block(t, "docs/upgrades.md", "guard-undo"))
	d.ExpectDump(before)
}

// The instructions for a migration that names a dropped index work as written.
func TestBlockedUpgrade(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch(pgtest.KeepNoNames).Expect(t, 0, "patched: ")
	dir := t.TempDir()
	drop := dir + "/20991231000000_no_more_unique.sql"
	if err := os.WriteFile(drop, []byte(`DROP INDEX "OpenaiCreds_apiKey_key";`), 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := func() string {
		return d.Text(`SELECT count(*) FROM "_prisma_migrations" WHERE finished_at IS NULL AND rolled_back_at IS NULL`)
	}
	if err := pgtest.RunMigration(d.Conn, drop); err == nil || blocked() != "1" {
		t.Fatalf("the migration does not fail: %v", err)
	}
	if found := d.Text(strings.TrimSuffix(strings.TrimSpace(strings.Replace(pgtest.Block(t, "docs/reference.md", "upgrades-look"), ", logs", "", 1)), ";")); found != "20991231000000_no_more_unique" {
		t.Errorf("the query finds %q", found)
	}
	d.Exec(pgtest.Block(t, "docs/reference.md", "upgrades-index"))
	d.Exec(pgtest.Block(t, "docs/reference.md", "upgrades-resolve"))
	if blocked() != "0" {
		t.Error("the migrations are still blocked")
	}
	d.Exec(`DELETE FROM "_prisma_migrations" WHERE rolled_back_at IS NOT NULL`) // Prisma would add a second row
	if err := pgtest.RunMigration(d.Conn, drop); err != nil {
		t.Error(err)
	}
	d.Patch().Expect(t, 0, "changed=false", "2.4.0-rc or later")
}

// pasted is the compose file that the README gives: two services.
type pasted struct {
	Services map[string]struct {
		Image       string
		Environment map[string]string
		Networks    []string
		Restart     string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	}
}

// The lines that the README gives to paste do what it says with their one variable, in a database that Evolution has created and
// in an empty one.
func TestReadmePaste(t *testing.T) {
	t.Parallel()
	var file pasted
	if err := yaml.Unmarshal([]byte("services:\n"+pgtest.Block(t, "README.md", "paste")), &file); err != nil {
		t.Fatal(err)
	}
	service, evolution := file.Services[pgtest.Module], file.Services["evolution"]
	if len(file.Services) != 2 || service.Image != pgtest.Module || service.Restart != "" || !slices.Equal(service.Networks, []string{"YOUR_NETWORK"}) {
		t.Errorf("%+v", file)
	}
	waits := evolution.DependsOn
	if len(waits) != 3 || waits[pgtest.Module].Condition != "service_completed_successfully" || waits["postgres"].Condition != "service_started" || waits["redis"].Condition != "service_started" {
		t.Errorf("Evolution depends on %+v", waits)
	}
	if uri := service.Environment["DATABASE_CONNECTION_URI"]; len(service.Environment) != 1 || !strings.HasSuffix(uri, "/evolution?schema=evolution_api") {
		t.Errorf("the environment is %v", service.Environment)
	}
	t.Run("a database of Evolution's", func(t *testing.T) {
		d := pgtest.NewEvolution(t, "evolution_api")
		if first, second := d.Register("2.3.7", "i1", "one", pgtest.APIKey), d.Register("2.3.7", "i2", "two", pgtest.APIKey); first != 201 || second != 400 {
			t.Errorf("before: HTTP %d and %d", first, second)
		}
		patchByDefault(t, d).Expect(t, 0, "patched: ", "changed=true")
		if second := d.Register("2.3.7", "i2", "two", pgtest.APIKey); second != 201 {
			t.Errorf("after: HTTP %d", second)
		}
		expectReadmeUndo(t, d)
	})
	t.Run("an empty database", func(t *testing.T) {
		d := pgtest.NewDatabase(t, "evolution_api")
		patchByDefault(t, d).Expect(t, 0, "guarded: ")
		d.Migrate(pgtest.Last)
		d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
		for _, instance := range []string{"i1", "i2"} {
			if code := d.Register("2.3.7", instance, instance, pgtest.APIKey); code != 201 {
				t.Errorf("instance %s: HTTP %d", instance, code)
			}
		}
		expectReadmeUndo(t, d)
	})
}

// expectReadmeUndo runs the README's command for the undo, while instances i1 and i2 share a key and after that.
func expectReadmeUndo(t *testing.T, d *pgtest.Database) {
	t.Helper()
	composeRun(t, d, "README.md", "revert").Expect(t, 3, "remedy: ")
	d.Exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" = 'i2'`)
	composeRun(t, d, "README.md", "revert").Expect(t, 0, "changed=true")
	if key := d.Text(`SELECT "apiKey" FROM "OpenaiCreds"`); key != pgtest.APIKey {
		t.Error("revert left the space behind the key")
	}
}

// The README's first command patches a database of Evolution's, and its second prints the line that the README shows. The option
// -e is all that the program gets.
func TestReadmeOnce(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	run := regexp.MustCompile(`^docker run --rm --network YOUR_NETWORK -e (DATABASE_CONNECTION_URI)='postgresql://…' evolution-openai-patch( status)?$`)
	var printed []string
	for line := range strings.Lines(pgtest.Block(t, "README.md", "once")) {
		words := run.FindStringSubmatch(strings.TrimSpace(line))
		if words == nil {
			t.Fatalf("the command is %q", line)
		}
		o := pgtest.RunArgs(t.Context(), strings.Fields(words[2]), []string{words[1] + "=" + d.URI()})
		o.Expect(t, 0, "patched: ")
		printed = append(printed, regexp.MustCompile(`^patched: \S+ `).ReplaceAllString(o.Stdout, "patched: postgres:5432/evolution "))
	}
	if len(printed) != 2 || !strings.Contains(printed[0], "changed=true") || !strings.Contains(pgtest.Read(t, "README.md"), "\n```\n"+printed[1]+"```\n") {
		t.Errorf("the README does not show what the commands print:\n%s", printed)
	}
}

// The README's table has every first word that the program prints, and the program prints it where the table says so.
func TestReadmeStates(t *testing.T) {
	t.Parallel()
	created, empty, other := pgtest.NewEvolution(t, "public"), pgtest.NewDatabase(t, "public"), pgtest.NewDatabase(t, "public")
	role := other.Name + "_owner"
	other.Exec(`CREATE ROLE ` + role + ` LOGIN PASSWORD '` + pgtest.Password + `'; ALTER DATABASE ` + other.Name + ` OWNER TO ` + role)
	var states []string
	for _, c := range []struct{ uri, action string }{
		{created.URI(), "status"},
		{created.URI(), ""},
		{created.URI(), "revert"},
		{empty.URI(), ""},
		{other.URIAs(role), ""},
		{created.URIAs("nobody"), ""},
	} {
		o := pgtest.RunArgs(t.Context(), strings.Fields(c.action), []string{"DATABASE_CONNECTION_URI=" + c.uri})
		state, _, _ := strings.Cut(o.Stdout, ": ")
		t.Logf("%s → exit %d\n%s%s", c.action, o.Code, o.Stderr, o.Stdout)
		states = append(states, state)
	}
	if want := []string{"unpatched", "patched", "unpatched", "guarded", "pending", "failed"}; !slices.Equal(states, want) {
		t.Errorf("the states are %q, want %q", states, want)
	}
	_, table, _ := strings.Cut(pgtest.Read(t, "README.md"), "\n| first word | ")
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ").FindAllStringSubmatch(table, -1) {
		rows = append(rows, row[1])
	}
	slices.Sort(states)
	slices.Sort(rows)
	if !slices.Equal(rows, slices.Compact(states)) {
		t.Errorf("the table has %q, want %q", rows, states)
	}
}

// The README's two requests show that a key works in the instance that got it second.
func TestReadmeModels(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("please install: curl")
	}
	var authorizations []string
	openai := pgtest.NewOpenAI(t, pgtest.APIKey, func(a string) { authorizations = append(authorizations, a) })
	d := pgtest.NewEvolution(t, "evolution_api")
	evolution := pgtest.NewEvolutionServer(t, d, openai)
	patchByDefault(t, d).Expect(t, 0, "patched: ")
	for _, instance := range []string{"i1", "i2"} {
		if code := d.Register("2.3.7", instance, instance, pgtest.APIKey); code != 201 {
			t.Fatalf("instance %s: HTTP %d", instance, code)
		}
	}
	requests := strings.Split(strings.TrimSpace(pgtest.Block(t, "README.md", "models")), "\n")
	variables := append(os.Environ(), "APIKEY="+pgtest.EvolutionKey, "EVOLUTION="+evolution.URL, "INSTANCE=two")
	ask := func(request string) []struct{ ID, APIKey string } {
		cmd := exec.Command("/bin/bash", "-c", strings.Replace(request, "curl ", "curl -sS --fail-with-body ", 1))
		cmd.Env = variables
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", request, err, out)
		}
		var list []struct{ ID, APIKey string }
		if err := json.Unmarshal(out, &list); err != nil || len(list) == 0 {
			t.Fatalf("%s: %v\n%s", request, err, out)
		}
		return list
	}
	credentials := ask(requests[0])
	if credentials[0].APIKey != pgtest.APIKey+" " {
		t.Error("the answer does not show the key with its space")
	}
	variables = append(variables, "ID="+credentials[0].ID)
	if models := ask(requests[1]); models[0].ID != "gpt-4o-mini" || !slices.Equal(authorizations, []string{"Bearer " + pgtest.APIKey}) {
		t.Errorf("the models are %v, and OpenAI got %d requests", models, len(authorizations))
	}
}
