package test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"

	"evolution-openai-patch/test/pgtest"
)

// A galleryFile is a compose file as Coolify and Dokploy take it.
type galleryFile struct {
	Services map[string]struct {
		Image       string
		Environment []string
		DependsOn   any `yaml:"depends_on"`
		Restart     string
		Volumes     []string
		Healthcheck map[string]any
	}
	Volumes map[string]any
}

// decodeStrictly decodes YAML and refuses fields that are not known.
func decodeStrictly(t *testing.T, file string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(pgtest.Read(t, file)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// environOf returns an environment with another connection string. It must have one.
func environOf(t *testing.T, environ []string, uri string) (changed []string) {
	t.Helper()
	found := false
	for _, variable := range environ {
		if strings.HasPrefix(variable, "DATABASE_CONNECTION_URI=") {
			found, variable = true, "DATABASE_CONNECTION_URI="+uri
		}
		changed = append(changed, variable)
	}
	if !found {
		t.Fatalf("there is no connection string in %q", environ)
	}
	return changed
}

// expectOneShot requires that Evolution waits until the program has exited, that both have the same connection string, and
// that the program installs a guard in an empty database.
func expectOneShot(t *testing.T, file galleryFile, evolution string) {
	t.Helper()
	patch, app := file.Services[pgtest.Module], file.Services[evolution]
	if condition := pgtest.At(app.DependsOn, pgtest.Module, "condition"); condition != "service_completed_successfully" || patch.Restart != "no" || patch.Image != pgtest.Module {
		t.Errorf("Evolution does not wait until the program has exited: %v, restart %q, image %q", condition, patch.Restart, patch.Image)
	}
	uri := slices.IndexFunc(app.Environment, func(v string) bool { return strings.HasPrefix(v, "DATABASE_CONNECTION_URI=") })
	if uri < 0 || !slices.Contains(patch.Environment, app.Environment[uri]) {
		t.Errorf("the connection strings differ: %q and %q", app.Environment, patch.Environment)
	}
	d := pgtest.NewDatabase(t, "public")
	pgtest.RunArgs(t.Context(), nil, environOf(t, patch.Environment, d.URI())).Expect(t, 0, "guarded: ")
	d.Migrate(pgtest.Last)
	expectShares(t, d)
}

// expectShares requires that two instances can register one key.
func expectShares(t *testing.T, d *pgtest.Database) {
	t.Helper()
	d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('first', 'first'), ('second', 'second')`)
	err := pgtest.Until(func() error {
		for _, instance := range []string{"first", "second"} {
			if d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "instanceId" = $1`, instance) == "0" && d.Register("2.3.7", instance, instance, pgtest.APIKey) != 201 {
				return errors.New("instance " + instance + " is refused")
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// expectWatch requires that the program stays, patches a database in which Evolution creates its table, and patches it again
// when the unique index has come back.
func expectWatch(t *testing.T, environ []string) {
	t.Helper()
	d := pgtest.NewDatabase(t, "public")
	environ = environOf(t, environ, d.URI())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan pgtest.Outcome, 1)
	go func() { done <- pgtest.RunArgs(ctx, nil, environ) }()
	d.Migrate(pgtest.Last)
	expectShares(t, d)
	d.Exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" = 'second'`)
	d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
	if err := pgtest.Until(func() error {
		if d.Text(`SELECT count(*) FROM pg_index WHERE indrelid = '"OpenaiCreds"'::regclass AND indisunique`) != "2" { // of the id and the name
			return errors.New("the unique index stays")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	stop()
	o := <-done
	t.Logf("exit %d\n%s%s", o.Code, o.Stderr, o.Stdout)
}

func TestCoolify(t *testing.T) {
	t.Parallel()
	var file galleryFile
	decodeStrictly(t, "deploy/coolify.yml", &file)
	text := pgtest.Read(t, "deploy/coolify.yml")
	for _, field := range []string{"documentation", "slogan", "category", "tags", "logo", "port"} { // Coolify reads them from comments on top
		if !regexp.MustCompile(`(?m)\A(# .*\n)*# ` + field + `: \S`).MatchString(text) {
			t.Errorf("the field %s is missing at the top", field)
		}
	}
	for _, name := range regexp.MustCompile(`\$\{?([A-Z_0-9]+)`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`^(SERVICE_(USER|PASSWORD|URL)_[A-Z]+|POSTGRES_DB)$`).MatchString(name[1]) {
			t.Errorf("Coolify does not generate %s", name[1])
		}
	}
	expectOneShot(t, file, "evolution")
}

func TestDokploy(t *testing.T) {
	t.Parallel()
	var file galleryFile
	decodeStrictly(t, "deploy/dokploy/docker-compose.yml", &file)
	var template struct {
		Variables map[string]string
		Config    struct {
			Env     []string
			Mounts  []any
			Domains []struct {
				ServiceName, Host string
				Port              int
			}
		}
	}
	text := pgtest.Read(t, "deploy/dokploy/template.toml")
	undecoded, err := toml.Decode(text, &template)
	if err != nil || len(undecoded.Undecoded()) > 0 {
		t.Fatalf("%v %v", err, undecoded.Undecoded())
	}
	set := map[string]bool{}
	for _, variable := range template.Config.Env {
		name, _, _ := strings.Cut(variable, "=")
		set[name] = true
	}
	for _, name := range regexp.MustCompile(`\$\{([A-Z_]+)\}`).FindAllStringSubmatch(pgtest.Read(t, "deploy/dokploy/docker-compose.yml"), -1) {
		if !set[name[1]] {
			t.Errorf("template.toml does not set %s", name[1])
		}
	}
	for _, name := range regexp.MustCompile(`\$\{([a-z_]+)(:\d+)?\}`).FindAllStringSubmatch(text, -1) {
		if _, ok := template.Variables[name[1]]; !ok && !slices.Contains([]string{"domain", "password"}, name[1]) {
			t.Errorf("template.toml has no variable %s", name[1])
		}
	}
	domain := template.Config.Domains[0]
	if _, ok := file.Services[domain.ServiceName]; !ok || domain.Port != 8080 || domain.Host != "${main_domain}" {
		t.Errorf("the domain is %+v", domain)
	}
	expectOneShot(t, file, "evolution-api")
}

func TestEasyPanel(t *testing.T) {
	t.Parallel()
	var schema struct {
		Services []struct {
			Type string
			Data struct {
				ServiceName, Env string
				Source           struct{ Type, Image string }
			}
		}
	}
	decoder := json.NewDecoder(strings.NewReader(pgtest.Read(t, "deploy/easypanel.json")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&schema); err != nil {
		t.Fatal(err)
	}
	service := schema.Services[0]
	if len(schema.Services) != 1 || service.Type != "app" || service.Data.ServiceName != pgtest.Module || service.Data.Source.Type != "image" || service.Data.Source.Image != pgtest.Module {
		t.Errorf("%+v", schema)
	}
	expectWatch(t, strings.Split(service.Data.Env, "\n"))
}

func TestCapRover(t *testing.T) {
	t.Parallel()
	var app struct {
		CaptainVersion int `yaml:"captainVersion"`
		Services       map[string]struct {
			Image, Restart string
			Environment    map[string]string
			CaproverExtra  map[string]string `yaml:"caproverExtra"`
		}
		OneClickApp struct {
			Variables []struct {
				ID, Label, Description string
				ValidRegex             string `yaml:"validRegex"`
			}
			Instructions               struct{ Start, End string }
			DisplayName                string `yaml:"displayName"`
			IsOfficial                 bool   `yaml:"isOfficial"`
			Description, Documentation string
		} `yaml:"caproverOneClickApp"`
	}
	decodeStrictly(t, "deploy/caprover.yml", &app)
	known := []string{"$$cap_appname"}
	for _, v := range app.OneClickApp.Variables {
		known = append(known, v.ID)
		if v.ID == "$$cap_database_uri" && !regexp.MustCompile(strings.ReplaceAll(strings.Trim(v.ValidRegex, "/"), `\/`, "/")).MatchString("postgres://evolution:secret@srv-captain--evolution-postgres:5432/evolution_db") {
			t.Errorf("%s refuses the connection string of CapRover's own Evolution", v.ValidRegex)
		}
	}
	for _, name := range regexp.MustCompile(`\$\$cap_\w+`).FindAllString(pgtest.Read(t, "deploy/caprover.yml"), -1) {
		if !slices.Contains(known, name) {
			t.Errorf("%s is not defined", name)
		}
	}
	service, ok := app.Services["$$cap_appname"]
	if !ok || app.CaptainVersion != 4 || service.Image != pgtest.Module || service.CaproverExtra["notExposeAsWebApp"] != "true" {
		t.Errorf("%+v", app)
	}
	var environ []string
	for name, value := range service.Environment {
		environ = append(environ, name+"="+value)
	}
	expectWatch(t, environ)
}
