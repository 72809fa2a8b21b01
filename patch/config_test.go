package patch

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

const goodURI = "DATABASE_CONNECTION_URI=postgresql://u:p@h/d"

func TestConfigErrors(t *testing.T) {
	const secret = "postgresql://u:Sup3rSecret@h/d"
	for name, c := range map[string]struct {
		environ []string
		want    []string // the variable and the beginning of the problem
	}{
		"nothing":           {nil, []string{"DATABASE_CONNECTION_URI: is not set or empty"}},
		"empty":             {[]string{"DATABASE_CONNECTION_URI=''"}, []string{"DATABASE_CONNECTION_URI: is not set or empty"}},
		"both":              {[]string{goodURI, "DATABASE_CONNECTION_URI_FILE=/x"}, []string{"DATABASE_CONNECTION_URI: is set, and DATABASE_CONNECTION_URI_FILE too"}},
		"no such file":      {[]string{"DATABASE_CONNECTION_URI_FILE=/no/such"}, []string{"DATABASE_CONNECTION_URI_FILE: cannot be read"}},
		"a folder":          {[]string{"DATABASE_CONNECTION_URI_FILE=" + os.TempDir()}, []string{"DATABASE_CONNECTION_URI_FILE: cannot be read"}},
		"an empty file":     {[]string{"DATABASE_CONNECTION_URI_FILE=/dev/null"}, []string{"DATABASE_CONNECTION_URI_FILE: names an empty file"}},
		"two":               {[]string{"DATABASE_CONNECTION_URI=" + secret + " " + secret}, []string{"DATABASE_CONNECTION_URI: holds white space"}},
		"mysql":             {[]string{goodURI, "DATABASE_PROVIDER=mysql"}, []string{"DATABASE_PROVIDER: is not one of postgresql, psql_bouncer; this program speaks PostgreSQL only"}},
		"duration":          {[]string{goodURI, "PATCH_WAIT_TIMEOUT=30"}, []string{"PATCH_WAIT_TIMEOUT: is not a duration; write a number with its unit"}},
		"negative":          {[]string{goodURI, "PATCH_WAIT_TIMEOUT=-1s"}, []string{"PATCH_WAIT_TIMEOUT: is too short"}},
		"lock for ever":     {[]string{goodURI, "PATCH_LOCK_TIMEOUT=0"}, []string{"PATCH_LOCK_TIMEOUT: is too short; the least is 1ms"}},
		"boolean":           {[]string{goodURI, "PATCH_DRY_RUN=ture"}, []string{"PATCH_DRY_RUN: is neither true nor false"}},
		"fix":               {[]string{goodURI, "PATCH_FIXES=apikey-index,everything"}, []string{"PATCH_FIXES: names a fix that this version does not have"}},
		"misspelt":          {[]string{goodURI, "PATCH_WAIT_TIMOUT=1s"}, []string{"PATCH_WAIT_TIMOUT: no such variable; did you mean PATCH_WAIT_TIMEOUT?"}},
		"transposed":        {[]string{goodURI, "PATCH_SCHMEAS=x"}, []string{"PATCH_SCHMEAS: no such variable; did you mean PATCH_SCHEMAS?"}},
		"lower case":        {[]string{goodURI, "patch_fixes=x"}, []string{"patch_fixes: no such variable; did you mean PATCH_FIXES?"}},
		"several schemas":   {[]string{goodURI, "PATCH_SCHEMAS=a,b"}, []string{"PATCH_SCHEMAS: this version takes the name of one schema"}},
		"every schema":      {[]string{goodURI, "PATCH_SCHEMAS=*"}, []string{"PATCH_SCHEMAS: this version takes the name of one schema"}},
		"libpq, no user":    {[]string{"PGHOST=h"}, []string{"PGHOST: PGUSER is not set"}},
		"libpq, no sslmode": {[]string{"PGHOST=h", "PGUSER=u", "PGSSLMODE=ture"}, []string{"PGHOST: sslmode is invalid"}},
		"all at once": {
			[]string{"PATCH_ACTION=aply", "PATCH_LOG_FORMAT=xml", "PATCH_DRY_RUN=" + secret, "PATCH_LOCK_RETRY=" + secret, "PATCH_ON_EROR=x", "DATABASE_PROVIDER=" + secret},
			[]string{
				"PATCH_ON_EROR: no such", "PATCH_LOCK_RETRY: is not a duration", "PATCH_DRY_RUN: is neither", "DATABASE_PROVIDER: is not one",
				"PATCH_ACTION: is not one of", "PATCH_LOG_FORMAT: is not one of text, json", "DATABASE_CONNECTION_URI: is not set",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.environ)
			if err == nil {
				t.Fatal("no error")
			}
			var config *ConfigError
			if !errors.As(err, &config) {
				t.Errorf("%T is no *ConfigError", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Errorf("%d errors, want %d:\n%v", len(lines), len(c.want), err)
			}
			for _, want := range c.want {
				if !strings.Contains("\n"+err.Error(), "\n"+want) {
					t.Errorf("%q is not among:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "Sup3rSecret") {
				t.Errorf("a secret in: %v", err)
			}
		})
	}
}

func TestConfigTakesWhatPeopleWrite(t *testing.T) {
	cfg, err := Parse([]string{
		`DATABASE_CONNECTION_URI="postgresql://u:p@h/d?schema=evolution_api"`, "PATCH_DRY_RUN='true'", "PATCH_WAIT_TIMEOUT=0", "PATCH_FIXES= apikey-index ",
		"PATCH_LOCK_TIMEOUT=", "PATCH_SCHEMAS=", "PATCH_SERVICE_HOST=10.0.0.1", "PATCH_API_PORT_80_TCP=tcp://10.0.0.1:80", "LOG_LEVEL=ERROR,WARN",
		"DATABASE_URL=mysql://not/this", "NOT_EVEN_A_VARIABLE",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.DryRun || cfg.WaitTimeout != 0 || cfg.LockTimeout.String() != "50ms" || len(cfg.Want) != 1 || cfg.Targets[0].Schema != "evolution_api" {
		t.Errorf("%+v", cfg)
	}
}

// The README's table and the struct say the same, in both directions.
func TestReadmeListsEveryVariable(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (?:`([^`]*)`|–)[^|]*\\|").FindAllStringSubmatch(string(readme), -1) {
		rows[row[1]] = row[2]
	}
	for _, f := range fields() {
		name := f.Tag.Get("env")
		documented, ok := rows[name]
		if !ok {
			t.Errorf("the README does not list %s", name)
		} else if documented != f.Tag.Get("envDefault") {
			t.Errorf("%s: the README says %q is the default, the program says %q", name, documented, f.Tag.Get("envDefault"))
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("the README lists %s, which the program does not know", name)
	}
}

// A Config may end up in somebody's log.
func TestConfigPrintsNoSecret(t *testing.T) {
	cfg, err := Parse([]string{"DATABASE_CONNECTION_URI=postgresql://u:Sup3rSecret@h/d", "DATABASE_URL=postgresql://u:Sup3rSecret@h/d"})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := sprintf(verb, cfg); strings.Contains(text, "Sup3rSecret") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
