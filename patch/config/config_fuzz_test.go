package config

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// reference matches what stands for a variable.
var reference = regexp.MustCompile(`\$[({][-.\w]*Sup3rSecret[-.\w]*[)}]`)

// FuzzConfig sets one variable to any value that holds a secret. The result is a usable configuration, or errors that name
// their variable, stand on a line each and do not have the secret.
func FuzzConfig(f *testing.F) {
	const secret = "Sup3rSecret"
	for _, v := range variableHelp {
		f.Add(v.name, "", "")
		f.Add(v.name, "'1s,", "\n'")
	}
	for _, name := range []string{"PGHOST", "PGPASSWORD", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "patch_fixes", "PATCH_", "PATCH_X", "Patch-Port", "PATCH_WATCH "} {
		f.Add(name, "5432,", "\x00\xff")
	}
	f.Add("DATABASE_CONNECTION_URI", "postgresql://u:", "@h/d?schema=a&sslmode=require")
	f.Add("DATABASE_CONNECTION_URI", "postgresql://u:", "@h:70000/d postgresql://")
	f.Add("DATABASE_URL", `"postgres://`, `@[::1/%4"`)
	f.Add("PATCH_SCHEMAS", "a,", ",*")
	f.Add("PATCH_DATABASES", "[", "]*,")
	f.Add("PATCH_DATABASES", "!a,[!", `]*,!\`)
	f.Fuzz(func(t *testing.T, name, before, after string) {
		if strings.HasPrefix(name, "=") || name == "" {
			name = "X" + name // a variable has a name
		}
		if reference.MatchString(before + secret + after) {
			return // the name of a variable, which is printed
		}
		environ := []string{name + "=" + before + secret + after}
		if !strings.HasPrefix(name, "DATABASE_") && !strings.HasPrefix(name, "PG") {
			environ = append(environ, goodURI)
		}
		cfg, err := Parse(context.Background(), environ)
		if err == nil {
			if len(cfg.Sources) == 0 {
				t.Errorf("%q: no target and no error", environ)
			}
			return
		}
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			var c *Error
			var joined interface{ Unwrap() []error }
			if !errors.As(e, &c) && !errors.As(e, &joined) {
				t.Errorf("%q: %T", environ, e)
			}
		}
		if text := err.Error(); strings.Contains(text, secret) || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }) {
			t.Errorf("%q: %q", environ, text)
		}
	})
}
