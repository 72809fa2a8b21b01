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

// pasted is the compose file that the README's first screen gives: two services.
type pasted struct {
	Services map[string]struct {
		Image       string
		Environment map[string]string
		Restart     string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	}
}

// readPasted returns the README's first block, and the environment of the program in it, without the connection string.
func readPasted(t *testing.T) (file pasted, environ []string) {
	t.Helper()
	if err := yaml.Unmarshal([]byte("services:\n"+pgtest.Block(t, "README.md", "paste")), &file); err != nil {
		t.Fatal(err)
	}
	for name, value := range file.Services["evolution-openai-patch"].Environment {
		if name != "DATABASE_CONNECTION_URI" {
			environ = append(environ, name+"="+value)
		}
	}
	return file, environ
}

// The eight lines that the README gives to paste do what it says, with a database that Evolution has created and with an
// empty one.
func TestReadmePaste(t *testing.T) {
	t.Parallel()
	lines, _, _ := strings.Cut(pgtest.Block(t, "README.md", "paste"), "\n\n")
	if n := strings.Count(lines, "\n") + 1; n != 8 {
		t.Errorf("there are %d lines to paste, and the README says eight", n)
	}
	file, environ := readPasted(t)
	service, evolution := file.Services["evolution-openai-patch"], file.Services["evolution"]
	if len(file.Services) != 2 || service.Image != pgtest.Module || service.Restart != "no" || evolution.DependsOn[pgtest.Module].Condition != "service_completed_successfully" {
		t.Errorf("%+v", file)
	}
	if uri := service.Environment["DATABASE_CONNECTION_URI"]; !strings.HasSuffix(uri, "/evolution?schema=evolution_api") {
		t.Errorf("the connection string is %s", uri)
	}
	t.Run("a database of Evolution's", func(t *testing.T) {
		d := pgtest.NewEvolution(t, "evolution_api")
		if first, second := d.Register("2.3.7", "i1", "one", pgtest.APIKey), d.Register("2.3.7", "i2", "two", pgtest.APIKey); first != 201 || second != 400 {
			t.Errorf("before: HTTP %d and %d", first, second)
		}
		d.Patch(environ...).Expect(t, 0, "patched: ", "changed=true")
		if second := d.Register("2.3.7", "i2", "two", pgtest.APIKey); second != 201 {
			t.Errorf("after: HTTP %d", second)
		}
		expectReadmeStatus(t, d, environ)
	})
	t.Run("an empty database", func(t *testing.T) {
		d := pgtest.NewDatabase(t, "evolution_api")
		d.Patch(environ...).Expect(t, 0, "guarded: ")
		d.Migrate(pgtest.Last)
		d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
		for _, instance := range []string{"i1", "i2"} {
			if code := d.Register("2.3.7", instance, instance, pgtest.APIKey); code != 201 {
				t.Errorf("instance %s: HTTP %d", instance, code)
			}
		}
		expectReadmeStatus(t, d, environ)
	})
}

// expectReadmeStatus runs the README's command for the status, and requires the line that the README prints. Then it runs
// the command for the undo where nothing is in the way of it.
func expectReadmeStatus(t *testing.T, d *pgtest.Database, environ []string) {
	t.Helper()
	readme, err := os.ReadFile(pgtest.Root("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string) pgtest.Outcome {
		action, found := strings.CutPrefix(strings.TrimSpace(pgtest.Block(t, "README.md", name)), "docker compose run --rm evolution-openai-patch ")
		if !found {
			t.Fatalf("the block %s is not a run of the service", name)
		}
		return pgtest.RunArgs(t.Context(), []string{action}, append([]string{"DATABASE_CONNECTION_URI=" + d.URI()}, environ...))
	}
	o := run("status")
	o.Expect(t, 0)
	line := regexp.MustCompile(`^patched: \S+ `).ReplaceAllString(o.Stdout, "patched: postgres:5432/evolution ")
	if !strings.Contains(string(readme), "\n```\n"+line+"```\n") {
		t.Errorf("the README does not show what status prints:\n%s", line)
	}
	run("revert").Expect(t, 3, "remedy: ")
	d.Exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" = 'i2'`)
	run("revert").Expect(t, 0, "changed=true")
	if key := d.Text(`SELECT "apiKey" FROM "OpenaiCreds"`); key != pgtest.APIKey {
		t.Error("revert left the space behind the key")
	}
}

// The README's command for a single run patches a database of Evolution's. Its option -e is all that the program gets.
func TestReadmeOnce(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	command := strings.Fields(strings.TrimSpace(pgtest.Block(t, "README.md", "once")))
	if want := "docker run --rm --network YOUR_NETWORK -e DATABASE_CONNECTION_URI='postgresql://…' evolution-openai-patch"; strings.Join(command, " ") != want {
		t.Fatalf("the command is %q, want %q", command, want)
	}
	environ := []string{}
	for i, word := range command {
		if word == "-e" {
			environ = append(environ, strings.Replace(command[i+1], "'postgresql://…'", d.URI(), 1))
		}
	}
	pgtest.RunArgs(t.Context(), nil, environ).Expect(t, 0, "patched: ", "apikey-index=patched apikey-check=patched")
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
	_, environ := readPasted(t)
	d.Patch(environ...).Expect(t, 0, "patched: ")
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
