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

// block returns the fenced block of a page that follows the comment <!-- test: name -->.
func block(t *testing.T, page, name string) string {
	t.Helper()
	content, err := os.ReadFile(pgtest.Root(page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), "<!-- test: "+name+" -->")
	if !found {
		t.Fatalf("%s has no block %s", page, name)
	}
	_, rest, _ = strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, _ := strings.Cut(rest, "```")
	return code
}

// The instructions for undoing the fixes by hand work as written.
func TestUndoByHand(t *testing.T) {
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(20)
	before := d.SortedDump()
	d.Patch("PATCH_FIXES=apikey-check", "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
	d.Exec(block(t, "docs/reference.md", "undo"))
	d.ExpectSortedDump(before)
}

// The instructions for removing a guard by hand work as written.
func TestUndoGuard(t *testing.T) {
	d := pgtest.NewDatabase(t, "public")
	before := d.Dump()
	d.Patch(guard, allFixes).Expect(t, 0, "guarded: ")
	d.Exec(block(t, "docs/upgrades.md", "guard-undo"))
	d.ExpectDump(before)
}

// The instructions for a migration that names a dropped index work as written.
func TestBlockedUpgrade(t *testing.T) {
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch().Expect(t, 0, "patched: ")
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
	if found := d.Text(strings.TrimSuffix(strings.TrimSpace(strings.Replace(block(t, "docs/reference.md", "upgrades-look"), ", logs", "", 1)), ";")); found != "20991231000000_no_more_unique" {
		t.Errorf("the query finds %q", found)
	}
	d.Exec(block(t, "docs/reference.md", "upgrades-index"))
	d.Exec(block(t, "docs/reference.md", "upgrades-resolve"))
	if blocked() != "0" {
		t.Error("the migrations are still blocked")
	}
	d.Exec(`DELETE FROM "_prisma_migrations" WHERE rolled_back_at IS NOT NULL`) // Prisma would add a second row
	if err := pgtest.RunMigration(d.Conn, drop); err != nil {
		t.Error(err)
	}
	d.Patch("PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "changed=false", "2.4.0-rc or later")
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
	if err := yaml.Unmarshal([]byte("services:\n"+block(t, "README.md", "paste")), &file); err != nil {
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
	lines, _, _ := strings.Cut(block(t, "README.md", "paste"), "\n\n")
	if n := strings.Count(lines, "\n") + 1; n != 8 {
		t.Errorf("there are %d lines to paste, and the README says eight", n)
	}
	file, environ := readPasted(t)
	service, evolution := file.Services["evolution-openai-patch"], file.Services["evolution"]
	if len(file.Services) != 2 || service.Image != module || service.Restart != "no" || evolution.DependsOn[module].Condition != "service_completed_successfully" {
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
		action, found := strings.CutPrefix(strings.TrimSpace(block(t, "README.md", name)), "docker compose run --rm evolution-openai-patch ")
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
	d := pgtest.NewEvolution(t, "evolution_api")
	command := strings.Fields(strings.TrimSpace(block(t, "README.md", "once")))
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
	requests := strings.Split(strings.TrimSpace(block(t, "README.md", "models")), "\n")
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

// Every block of the README is executed by a test: it has a mark, is what a command prints, or runs make.
func TestReadmeBlocks(t *testing.T) {
	tested := []string{"paste", "status", "once", "models", "revert"} // TestReadme…, and TestE2EReadme
	var marked []string
	for _, found := range regexp.MustCompile("(?ms)^(?:<!-- test: ([^\n]*) -->\n)?```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(read(t, "README.md"), -1) {
		mark, kind, code := found[1], found[2], found[3]
		makes := regexp.MustCompile(`^(make (demo|test) .*\n)+$`).MatchString(code) // TestDemo, and the command that runs this test
		switch {
		case mark != "":
			marked = append(marked, mark)
		case kind != "" && !makes:
			t.Errorf("no test executes\n%s", code)
		}
	}
	if !slices.Equal(marked, tested) {
		t.Errorf("the blocks are %q, want %q", marked, tested)
	}
}

// All commands and files that the README names exist.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile(pgtest.Root("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(pgtest.Root("Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`?make ([a-z0-9-]+)").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("the README names `make %s`, which does not exist", m[1])
		}
	}
	module, err := os.ReadFile(pgtest.Root("go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))[1]; !strings.Contains(string(readme), "You need Linux, Go "+needed+" or later, and make") {
		t.Errorf("the README does not say that Go %s is needed", needed)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		if !pgtest.Exists(pgtest.Root(m[1])) {
			t.Errorf("the README links to %s, which does not exist", m[1])
		}
	}
}
