// Package config turns the environment, which is the whole interface of the program, into a Config.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/prisma"
)

// Config holds every variable that the program reads but libpq's own (PGHOST and so on).
type Config struct {
	URI            Secret         `env:"DATABASE_CONNECTION_URI"`
	URIFile        string         `env:"DATABASE_CONNECTION_URI_FILE"`
	DatabaseURL    Secret         `env:"DATABASE_URL"`
	Provider       Provider       `env:"DATABASE_PROVIDER" envDefault:"postgresql"`
	Action         Action         `env:"PATCH_ACTION" envDefault:"apply"`
	Fixes          plan.Selection `env:"PATCH_FIXES" envDefault:"auto"`
	KeepNames      Switch         `env:"PATCH_KEEP_INDEX_NAMES" envDefault:"true"`
	OnMissingTable OnMissingTable `env:"PATCH_ON_MISSING_TABLE" envDefault:"guard"`
	Schemas        Schemas        `env:"PATCH_SCHEMAS"`
	Databases      Databases      `env:"PATCH_DATABASES"`
	Connections    Count          `env:"PATCH_CONNECTIONS" envDefault:"4"`
	Watch          Interval       `env:"PATCH_WATCH" envDefault:"0"`
	WaitTimeout    Limit          `env:"PATCH_WAIT_TIMEOUT" envDefault:"2m"`
	ConnectTimeout Timeout        `env:"PATCH_CONNECT_TIMEOUT" envDefault:"5s"`
	LockTimeout    Timeout        `env:"PATCH_LOCK_TIMEOUT" envDefault:"50ms"`
	LockRetry      Limit          `env:"PATCH_LOCK_RETRY" envDefault:"1m"`
	DryRun         Switch         `env:"PATCH_DRY_RUN" envDefault:"false"`
	BackupDir      string         `env:"PATCH_BACKUP_DIR"`
	OnError        OnError        `env:"PATCH_ON_ERROR" envDefault:"fail"`
	LogFormat      LogFormat      `env:"PATCH_LOG_FORMAT" envDefault:"text"`
	LogLevel       LogLevel       `env:"PATCH_LOG_LEVEL" envDefault:"info"`

	Sources   []Source `env:"-"` // what the variables come down to
	Completed []string `env:"-"` // names of fixes that were not asked for but are needed by others
}

// Source is what one connection string names.
type Source struct {
	postgres.Target
	Databases       Databases // of the same server
	Schemas         Schemas   // of each database that is named
	SchemasOfOthers Schemas   // of each database that is found by a pattern
	PasswordHint    string    // what may be wrong with the password if the server refuses it, "" for nothing
}

// Parse reads the environment, in the form of os.Environ, and the secret file that it may name. The error joins a
// *Error for every problem found; LogFormat and LogLevel are usable even then. Cancelling ctx ends the wait for a pipe
// that the secret is to come through, with context.Cause(ctx) as an error.
func Parse(ctx context.Context, environ []string) (Config, error) {
	vars := variables(environ)
	var cfg Config
	errs := unknownVariables(vars)
	var all env.AggregateError
	if errors.As(env.ParseWithOptions(&cfg, env.Options{Environment: vars}), &all) {
		for _, e := range all.Errors {
			errs = append(errs, configError(e))
		}
	}
	if cfg.Watches() && bool(cfg.DryRun) || cfg.Watch.Duration != 0 && cfg.Action == ActionRevert {
		errs = append(errs, &Error{"PATCH_WATCH", "keeps the fixes in place, so it goes with neither PATCH_ACTION=revert nor PATCH_DRY_RUN"})
	}
	cfg.Completed = cfg.Fixes.Complete(cfg.Goal())
	err := errors.Join(append(errs, cfg.readSources(ctx, vars))...)
	if err == nil && cfg.BackupDir != "" && cfg.MayChange() {
		err = errors.Join(problem("PATCH_BACKUP_DIR", tryBackupDir(cfg.BackupDir)))
	}
	return cfg, err
}

// Error reports a variable that cannot be used, and how to write it. Nothing was contacted.
type Error struct {
	Variable string
	Problem  string // never quotes the value
}

func (e *Error) Error() string { return e.Variable + ": " + e.Problem }

// problem returns an error as one of a variable, nil for none.
func problem(variable string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{variable, err.Error()}
}

// configError turns an error of package env, which speaks of Go's fields, into one that names the variable.
func configError(err error) error {
	var parse env.ParseError
	if !errors.As(err, &parse) {
		return &Error{"environment", "could not be read"}
	}
	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	return problem(field.Tag.Get("env"), parse.Err)
}

// variables returns the environment as a map. Some readers of .env files leave the quotes around a value.
func variables(environ []string) map[string]string {
	vars := map[string]string{}
	for _, v := range environ {
		if name, value, _ := strings.Cut(v, "="); name != "" { // a nameless one would set every field that is not a variable
			vars[name] = unquote(value)
		}
	}
	return vars
}

// unquote removes white space and then one pair of matching quotes around s.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		return strings.TrimSpace(s[1 : len(s)-1])
	}
	return s
}

// readSources finds the connection string, in the order that docs/reference.md gives, and reads it.
func (c *Config) readSources(ctx context.Context, vars map[string]string) error {
	variable, uri := "DATABASE_CONNECTION_URI", string(c.URI)
	switch {
	case uri != "" && c.URIFile != "":
		return &Error{variable, "is set, and DATABASE_CONNECTION_URI_FILE too; set one of them"}
	case c.URIFile != "":
		variable = "DATABASE_CONNECTION_URI_FILE"
		content, err := readSecret(ctx, c.URIFile)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			return problem(variable, err)
		}
		if uri = unquote(content); uri == "" {
			return &Error{variable, "names an empty file"}
		}
	case uri == "" && c.DatabaseURL != "":
		variable, uri = "DATABASE_URL", string(c.DatabaseURL)
	case uri == "" && vars["PGHOST"] != "":
		return c.addLibpqSource(vars)
	case uri == "" && vars["DATABASE_CONNECTION_URL"] != "":
		return &Error{variable, "is not set or empty; DATABASE_CONNECTION_URL is set: did you mean DATABASE_CONNECTION_URI?"}
	case uri == "":
		return &Error{variable, "is not set or empty; give it the very string that Evolution gets"}
	}
	uris := splitURIs(uri)
	if slices.ContainsFunc(uris, func(uri string) bool { return strings.HasPrefix(uri, "#") }) {
		return &Error{variable, "holds a comment (# at its start or after white space): remove it; in a password, # is written %23 and a space %20"}
	}
	var errs []error
	for i, uri := range uris {
		named := variable
		if len(uris) > 1 {
			named = fmt.Sprintf("%s: connection string %d of %d", variable, i+1, len(uris))
		}
		var connection postgres.Config
		var schema string
		uri, err := prisma.Expand(unquote(uri), vars)
		if err == nil {
			connection, schema, err = prisma.Parse(uri)
		}
		if err != nil && len(uris) > 1 {
			err = fmt.Errorf("%w; connection strings are separated by white space, so that in a password is written %%20", err)
		}
		if err == nil {
			err = c.addSource(connection, schema, prisma.PasswordHint(connection.Password, uri))
		}
		errs = append(errs, problem(named, err))
	}
	return errors.Join(errs...)
}

// splitURIs splits connection strings at white space. Where each is in quotes, the outermost two were taken for a pair around
// the whole.
func splitURIs(uri string) []string {
	uris := strings.FieldsFunc(uri, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) })
	for _, quote := range []string{"'", `"`} {
		if last := len(uris) - 1; last > 0 && strings.HasSuffix(uris[0], quote) && strings.HasPrefix(uris[last], quote) {
			uris[0], uris[last] = quote+uris[0], uris[last]+quote
		}
	}
	return uris
}

// WatchName is the application_name of a watch's sessions.
const WatchName = "evolution-openai-patch watch"

// addSource adds a source to the configuration. The schema is that of the connection string, "" if it names none.
func (c *Config) addSource(connection postgres.Config, schema, passwordHint string) error {
	if err := checkName(schema, "schema"); err != nil {
		return err
	}
	connection.ApplicationName = "evolution-openai-patch"
	if c.Watches() {
		connection.ApplicationName = WatchName
	}
	target, err := postgres.NewTarget(connection)
	if err != nil {
		return err
	}
	t := Source{target, c.Databases, c.Schemas, c.Schemas, passwordHint}
	if len(t.Databases.Names)+len(t.Databases.Patterns) == 0 {
		t.Databases.Names = []string{target.Database()}
	}
	if !c.Schemas.given() {
		t.Schemas.Names = []string{cmp.Or(schema, "public")}
		if t.SchemasOfOthers = t.Schemas; schema == "" {
			t.SchemasOfOthers = Schemas{All: true}
		}
	}
	c.Sources = append(c.Sources, t)
	return nil
}

// several reports whether more than one schema may be handled.
func (c *Config) several() bool {
	t := c.Sources[0]
	return len(c.Sources) > 1 ||
		len(t.Databases.Names) != 1 || len(t.Databases.Patterns) > 0 || len(t.Schemas.Names) != 1 || t.Schemas.All
}

// ItemLevel is the level at which the log tells of each connection and statement: where there are many, only for debugging.
func (c *Config) ItemLevel() slog.Level {
	if c.several() {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// MayChange reports whether the database may be changed at all.
func (c *Config) MayChange() bool { return c.Action != ActionStatus && !bool(c.DryRun) }

// Watches reports whether the program stays and keeps the fixes in place.
func (c *Config) Watches() bool { return c.Watch.Duration != 0 && c.Action == ActionApply }

// WaitsForTable reports whether a missing table is waited for.
func (c *Config) WaitsForTable() bool { return c.OnMissingTable == MissingWait && c.MayChange() }

// TableRequired reports whether it is an error that there is no table.
func (c *Config) TableRequired() bool {
	return c.WaitsForTable() || c.OnMissingTable == MissingFail && c.Action != ActionStatus
}

// Limits are those of every transaction.
func (c *Config) Limits() postgres.Limits {
	return postgres.Limits{Idle: c.ConnectTimeout.Duration, Lock: c.LockTimeout.Duration}
}

// Goal returns the goal of the action.
func (c *Config) Goal() plan.Goal {
	switch c.Action {
	case ActionRevert:
		return plan.Revert
	case ActionStatus:
		return plan.Look
	}
	return plan.Apply
}

// Request returns what the configuration asks of the schema in which s was found.
func (c *Config) Request(s plan.State) plan.Request {
	r := plan.Request{
		Schema: s.Schema, Fixes: plan.Select(c.Fixes, c.Goal(), s),
		KeepNames: bool(c.KeepNames), Guard: c.OnMissingTable == MissingGuard,
	}
	if c.Action == ActionRevert {
		r.Goal = plan.Revert
	}
	return r
}
