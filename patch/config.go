package patch

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Secret is text that no format verb and no log handler prints.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "(secret)" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "(secret)" }

// Config is the whole interface: every variable that the program reads, but for libpq's own (PGHOST and so on). `help`
// prints the tags, and the README's table says the same.
type Config struct {
	URI            Secret         `env:"DATABASE_CONNECTION_URI" help:"the very string that Evolution gets, with ?schema=…; Prisma's dialect is understood"`
	URIFile        string         `env:"DATABASE_CONNECTION_URI_FILE" help:"read it from this file instead (a Docker or Kubernetes secret), of at most 64 KiB"`
	DatabaseURL    Secret         `env:"DATABASE_URL" help:"used where neither is set; after that libpq's PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE …"`
	Provider       Provider       `env:"DATABASE_PROVIDER" envDefault:"postgresql" help:"postgresql or psql_bouncer"`
	Action         Action         `env:"PATCH_ACTION" envDefault:"apply" help:"apply; status (look only); revert (put back what the fixes took)"`
	Fixes          []string       `env:"PATCH_FIXES" envDefault:"auto" help:"comma-separated: auto, apikey-index, apikey-check, name-index. auto is what one key in several instances needs: apikey-index, and apikey-check where the database is Evolution 2.3.0 or later or a guard is armed; status and revert count what is there, too"`
	KeepNames      bool           `env:"PATCH_KEEP_INDEX_NAMES" envDefault:"false" help:"leave a plain index under a dropped one's name, so that a later migration that names it passes"`
	OnMissingTable OnMissingTable `env:"PATCH_ON_MISSING_TABLE" envDefault:"continue" help:"no database or table yet: continue (warn, exit 0), guard (install a one-shot event trigger, the guard), wait (until it is there and no migration is running), fail (exit 4)"`
	Schemas        string         `env:"PATCH_SCHEMAS" help:"the schema, if not the connection string's; there it is public where none is named"`
	Watch          time.Duration  `env:"PATCH_WATCH" envDefault:"0" least:"100ms" zero:"off" reason:"looking more often would be a load of its own" help:"stay, and put the fixes back in place at this interval, at least 100ms; 0 is off"`
	WaitTimeout    time.Duration  `env:"PATCH_WAIT_TIMEOUT" envDefault:"2m" least:"0s" help:"how long to wait for PostgreSQL, for a migration that is running and, with wait, for the table; 0 is for ever; with PATCH_WATCH it is always for ever"`
	ConnectTimeout time.Duration  `env:"PATCH_CONNECT_TIMEOUT" envDefault:"5s" least:"1ms" most:"2147483647ms" reason:"the longest timeout that PostgreSQL takes" help:"one attempt to connect, authentication included"`
	LockTimeout    time.Duration  `env:"PATCH_LOCK_TIMEOUT" envDefault:"50ms" least:"1ms" most:"2147483647ms" reason:"the longest timeout that PostgreSQL takes" help:"the longest that an attempt to change may make Evolution's queries queue"`
	LockRetry      time.Duration  `env:"PATCH_LOCK_RETRY" envDefault:"1m" least:"0s" help:"how long to go on trying for the lock"`
	DryRun         bool           `env:"PATCH_DRY_RUN" envDefault:"false" help:"print the SQL that would run, change nothing"`
	BackupDir      string         `env:"PATCH_BACKUP_DIR" help:"before the first change, write an SQL file there that psql restores; it holds keys, mode 0600, and user 65532 must be able to write there"`
	OnError        OnError        `env:"PATCH_ON_ERROR" envDefault:"fail" help:"fail; continue (log the error and exit 0 all the same, configuration errors excepted)"`
	LogFormat      LogFormat      `env:"PATCH_LOG_FORMAT" envDefault:"text" help:"text or json, for the log and for the report"`
	LogLevel       LogLevel       `env:"PATCH_LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`

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
	errs := unknown(vars)
	unread := map[string]bool{} // the fields whose values could not be read, which have had their error
	err := env.ParseWithOptions(&cfg, env.Options{Environment: vars})
	var all env.AggregateError
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			errs = append(errs, translate(e, vars, unread))
		}
	}
	errs = append(errs, cfg.checkLimits(unread)...)
	if cfg.Watch > 0 && (cfg.Action == "revert" || cfg.Action == "apply" && cfg.DryRun) {
		errs = append(errs, &ConfigError{"PATCH_WATCH", "keeps the fixes in place, so it goes with neither PATCH_ACTION=revert nor PATCH_DRY_RUN"})
	}
	if err := cfg.readFixes(); err != nil {
		errs = append(errs, err)
	}
	if err := cfg.readTargets(vars); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 && cfg.BackupDir != "" && cfg.changes() {
		if err := tryBackupDir(cfg.BackupDir); err != nil {
			errs = append(errs, err)
		}
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

// readFixes looks the names in PATCH_FIXES up in the catalogue, and adds what they need. Putting an index back also
// takes away what needed it to be gone.
func (c *Config) readFixes() error {
	var names, asked []string
	for _, f := range Fixes {
		names = append(names, f.Name)
	}
	for i, name := range c.Fixes {
		name = strings.TrimSpace(name)
		if name == "auto" {
			c.Auto = true
			continue
		}
		if !slices.Contains(names, name) {
			return &ConfigError{"PATCH_FIXES", unknownFix(name, i+1, len(c.Fixes)) + "; write one or more of auto, " + list(names) + ", separated by commas"}
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

// unknownFix says what is wrong with a name in PATCH_FIXES, without quoting it.
func unknownFix(name string, position, of int) string {
	switch {
	case name == "" && position == of:
		return "ends with a comma"
	case name == "":
		return fmt.Sprintf("has nothing before comma %d", position)
	case strings.ContainsAny(name, "; \t\n|:+"):
		return "is not separated by commas"
	case of == 1:
		return "names a fix that this version does not have"
	}
	return fmt.Sprintf("names a fix that this version does not have, as number %d of %d", position, of)
}

// readTargets finds the connection string, in the order that the README gives, and reads it.
func (c *Config) readTargets(vars map[string]string) error {
	variable, uri := "DATABASE_CONNECTION_URI", string(c.URI)
	switch {
	case uri != "" && c.URIFile != "":
		return &ConfigError{variable, "is set, and DATABASE_CONNECTION_URI_FILE too; set one of them"}
	case c.URIFile != "":
		variable = "DATABASE_CONNECTION_URI_FILE"
		content, err := readSecret(c.URIFile)
		if err != nil {
			return &ConfigError{variable, err.Error()}
		}
		if uri = unquote(content); uri == "" {
			return &ConfigError{variable, "names an empty file"}
		}
	case uri == "" && c.DatabaseURL != "":
		variable, uri = "DATABASE_URL", string(c.DatabaseURL)
	case uri == "" && vars["PGHOST"] != "":
		s, err := libpqSettings(vars)
		if err != nil {
			return err
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
	named := variable
	if c.Schemas != "" {
		if strings.ContainsAny(c.Schemas, ",*") {
			return &ConfigError{"PATCH_SCHEMAS", "this version takes the name of one schema"}
		}
		schema, named = c.Schemas, "PATCH_SCHEMAS"
	}
	if len(schema) > 63 {
		return &ConfigError{named, "names a schema of more than 63 bytes, which PostgreSQL does not have"}
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
