package patch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/caarlos0/env/v11"
)

// Secret is text that no format verb and no log handler prints.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "(secret)" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "(secret)" }

// Config is the whole interface: every variable that the program reads, but for libpq's own (PGHOST and so on).
type Config struct {
	URI            Secret        `env:"DATABASE_CONNECTION_URI"`
	URIFile        string        `env:"DATABASE_CONNECTION_URI_FILE"`
	DatabaseURL    Secret        `env:"DATABASE_URL"`
	Provider       string        `env:"DATABASE_PROVIDER" envDefault:"postgresql" oneof:"postgresql,psql_bouncer"`
	Action         string        `env:"PATCH_ACTION" envDefault:"apply" oneof:"apply,status,revert"`
	Fixes          []string      `env:"PATCH_FIXES" envDefault:"auto"`
	OnMissingTable string        `env:"PATCH_ON_MISSING_TABLE" envDefault:"continue" oneof:"continue,wait,guard,fail"`
	Schemas        string        `env:"PATCH_SCHEMAS"`
	Watch          time.Duration `env:"PATCH_WATCH" envDefault:"0" least:"0s"`
	WaitTimeout    time.Duration `env:"PATCH_WAIT_TIMEOUT" envDefault:"2m" least:"0s"`
	ConnectTimeout time.Duration `env:"PATCH_CONNECT_TIMEOUT" envDefault:"5s" least:"1ms"`
	LockTimeout    time.Duration `env:"PATCH_LOCK_TIMEOUT" envDefault:"50ms" least:"1ms"`
	LockRetry      time.Duration `env:"PATCH_LOCK_RETRY" envDefault:"1m" least:"0s"`
	KeepNames      bool          `env:"PATCH_KEEP_INDEX_NAMES" envDefault:"false"`
	BackupDir      string        `env:"PATCH_BACKUP_DIR"`
	DryRun         bool          `env:"PATCH_DRY_RUN" envDefault:"false"`
	OnError        string        `env:"PATCH_ON_ERROR" envDefault:"fail" oneof:"fail,continue"`
	LogFormat      string        `env:"PATCH_LOG_FORMAT" envDefault:"text" oneof:"text,json"`
	LogLevel       string        `env:"PATCH_LOG_LEVEL" envDefault:"info" oneof:"debug,info,warn,error"`

	Targets   []Target `env:"-"` // what the above comes down to
	Auto      bool     `env:"-"` // besides Want, whatever the database needs
	Want      []Fix    `env:"-"`
	Completed []string `env:"-"` // names of fixes that were not asked for, but are needed
}

// ConfigError says that a variable cannot be used, and how to write it. Nothing was contacted.
type ConfigError struct {
	Variable string
	Problem  string // never quotes the value
}

func (e *ConfigError) Error() string { return e.Variable + ": " + e.Problem }

// Parse reads the environment, in the form of os.Environ, and the secret file that it may name. The error joins a
// *ConfigError for everything that is wrong; LogFormat and LogLevel can be used even then.
func Parse(environ []string) (Config, error) {
	vars := variables(environ)
	var cfg Config
	errs := misspelt(vars)
	err := env.ParseWithOptions(&cfg, env.Options{Environment: vars})
	var all env.AggregateError
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			errs = append(errs, translate(e))
		}
	}
	errs = append(errs, cfg.check()...)
	if cfg.Watch > 0 && (cfg.Action == "revert" || cfg.Action == "apply" && cfg.DryRun) {
		errs = append(errs, &ConfigError{"PATCH_WATCH", "keeps the fixes in place, so it goes with neither PATCH_ACTION=revert nor PATCH_DRY_RUN"})
	}
	if err := cfg.readFixes(); err != nil {
		errs = append(errs, err)
	}
	if err := cfg.readTargets(vars); err != nil {
		errs = append(errs, err)
	}
	return cfg, errors.Join(errs...)
}

// variables makes a map of the environment. Some readers of .env files leave the quotes around a value.
func variables(environ []string) map[string]string {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = unquote(value)
	}
	return vars
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		return strings.TrimSpace(s[1 : len(s)-1])
	}
	return s
}

// fields are the variables of Config, in its order.
func fields() []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[Config]()), func(f reflect.StructField) bool {
		return f.Tag.Get("env") == "-"
	})
}

// misspelt finds the PATCH_ variables that are so close to a known one that a typing error is likelier than chance.
func misspelt(vars map[string]string) (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !strings.HasPrefix(strings.ToUpper(name), "PATCH_") {
			continue
		}
		near := ""
		for _, f := range fields() {
			known := f.Tag.Get("env")
			if known == name {
				near = ""
				break
			}
			if levenshtein.ComputeDistance(strings.ToUpper(name), known) <= 2 {
				near = known
			}
		}
		if near != "" {
			errs = append(errs, &ConfigError{name, "no such variable; did you mean " + near + "?"})
		}
	}
	return errs
}

// translate turns an error of package env, which speaks of Go's fields and quotes the value, into one for the user.
func translate(err error) error {
	var parse env.ParseError
	if !errors.As(err, &parse) {
		return &ConfigError{"environment", "could not be read"}
	}
	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	problem := "is neither true nor false"
	if field.Type == reflect.TypeFor[time.Duration]() {
		problem = "is not a duration; write a number with its unit, such as 250ms, 30s or 2m"
	}
	return &ConfigError{field.Tag.Get("env"), problem}
}

// check holds every value against the `oneof` and `least` of its field.
func (c *Config) check() (errs []error) {
	v := reflect.ValueOf(c).Elem()
	for _, f := range fields() {
		name := f.Tag.Get("env")
		if words := f.Tag.Get("oneof"); words != "" && !slices.Contains(strings.Split(words, ","), v.FieldByIndex(f.Index).String()) {
			problem := "is not one of " + strings.ReplaceAll(words, ",", ", ")
			if name == "DATABASE_PROVIDER" {
				problem += "; this program speaks PostgreSQL only"
			}
			errs = append(errs, &ConfigError{name, problem})
		}
		if text := f.Tag.Get("least"); text != "" {
			if least, _ := time.ParseDuration(text); v.FieldByIndex(f.Index).Int() < int64(least) {
				errs = append(errs, &ConfigError{name, "is too short; the least is " + text})
			}
		}
	}
	return errs
}

// readFixes looks the names in PATCH_FIXES up in the catalogue, and adds what they need. Putting an index back also
// takes away what needed it to be gone.
func (c *Config) readFixes() error {
	var names, asked []string
	for _, f := range Fixes {
		names = append(names, f.Name)
	}
	for _, name := range c.Fixes {
		name = strings.TrimSpace(name)
		if name == "auto" {
			c.Auto = true
			continue
		}
		if !slices.Contains(names, name) {
			return &ConfigError{"PATCH_FIXES", "names a fix that this version does not have; it has auto, " + strings.Join(names, ", ")}
		}
		asked = append(asked, name)
	}
	for _, f := range Fixes {
		if slices.Contains(asked, f.Name) && f.Needs != "" && !slices.Contains(asked, f.Needs) {
			c.Completed = append(c.Completed, f.Needs)
		}
		if c.Action == "revert" && slices.Contains(asked, f.Needs) && !slices.Contains(asked, f.Name) {
			c.Completed = append(c.Completed, f.Name)
		}
	}
	for _, f := range Fixes {
		if slices.Contains(asked, f.Name) || slices.Contains(c.Completed, f.Name) {
			c.Want = append(c.Want, f)
		}
	}
	if c.Action == "revert" {
		slices.Reverse(c.Want) // the pads go before the index that they would break comes back
	}
	return nil
}

// readTargets finds the connection string, in the order that the README gives, and reads it.
func (c *Config) readTargets(vars map[string]string) error {
	variable, uri := "DATABASE_CONNECTION_URI", string(c.URI)
	switch {
	case uri != "" && c.URIFile != "":
		return &ConfigError{variable, "is set, and DATABASE_CONNECTION_URI_FILE too; set one of them"}
	case c.URIFile != "":
		variable = "DATABASE_CONNECTION_URI_FILE"
		content, err := os.ReadFile(c.URIFile)
		if err != nil {
			return &ConfigError{variable, fmt.Sprintf("cannot be read: %v; this program runs as user 65532", err)}
		}
		if uri = unquote(string(content)); uri == "" {
			return &ConfigError{variable, "names an empty file"}
		}
	case uri == "" && c.DatabaseURL != "":
		variable, uri = "DATABASE_URL", string(c.DatabaseURL)
	case uri == "" && vars["PGHOST"] != "":
		s, err := libpqSettings(vars)
		if err != nil {
			return &ConfigError{"PGHOST", err.Error()}
		}
		return c.addTarget("PGHOST", s, "public")
	case uri == "":
		return &ConfigError{variable, "is not set or empty; give it the very string that Evolution gets"}
	}
	uris := strings.FieldsFunc(uri, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) })
	if len(uris) > 1 {
		return &ConfigError{variable, "holds white space: this version takes one connection string; a space in a password is written %20"}
	}
	s, schema, err := parseURI(unquote(uris[0]))
	if err != nil {
		return &ConfigError{variable, err.Error()}
	}
	return c.addTarget(variable, s, schema)
}

func (c *Config) addTarget(variable string, s settings, schema string) error {
	if c.Schemas != "" {
		if strings.ContainsAny(c.Schemas, ",*") {
			return &ConfigError{"PATCH_SCHEMAS", "this version takes the name of one schema"}
		}
		schema = c.Schemas
	}
	target, err := s.target(schema)
	if err != nil {
		return &ConfigError{variable, err.Error()}
	}
	c.Targets = append(c.Targets, target)
	return nil
}

// fixes are the fixes for what was found: those that were named and, with auto, those that one key in several instances
// needs there. What is there of this program's counts too: the padding always, an index that is gone where nothing is dropped.
func (c *Config) fixes(s State) []Fix {
	if !c.Auto {
		return c.Want
	}
	var found []Fix
	for _, f := range Fixes {
		named := slices.ContainsFunc(c.Want, func(w Fix) bool { return w.Name == f.Name })
		needed := f.From != "" && (s.Table == nil || !f.Pad || s.Migrations.Last >= f.From) && (c.Action != "revert" || !f.Pad)
		there := f.Pad && (s.Function != nil || s.padTrigger() != nil) || !f.Pad && c.Action != "apply" && s.lacks(f)
		if named || needed || there {
			found = append(found, f)
		}
	}
	if c.Action == "revert" {
		slices.Reverse(found)
	}
	return found
}

// wish is what the plan is to fulfil.
func (c *Config) wish(s State) wish {
	w := wish{schema: s.Schema, fixes: c.fixes(s), keepNames: c.KeepNames, guarded: c.OnMissingTable == "guard"}
	if c.Action == "revert" {
		w.goal = Revert
	}
	return w
}

// pads says whether the keys themselves are concerned.
func pads(fixes []Fix) bool {
	return slices.ContainsFunc(fixes, func(f Fix) bool { return f.Pad })
}

// guarded says whether the guard does all that was asked for.
func (c *Config) guarded(s State) bool {
	work := s.Guard.armed()
	return work != nil && !slices.ContainsFunc(c.fixes(s), func(f Fix) bool { return !slices.Contains(work.Fixes, f.Name) })
}

// changes says whether the database may be changed at all.
func (c *Config) changes() bool { return c.Action != "status" && !c.DryRun }

// Level is the log level asked for, info if that makes no sense.
func (c *Config) Level() slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(c.LogLevel)) != nil {
		return slog.LevelInfo
	}
	return level
}
