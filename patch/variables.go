package patch

import (
	"cmp"
	"encoding"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// kubernetesService matches what Kubernetes injects for a Service whose name begins with "patch".
var kubernetesService = regexp.MustCompile(`^PATCH_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknown finds the PATCH_ variables that the program does not have, so that a typing error never means the default.
func unknown(vars map[string]string) (errs []error) {
	var known []string
	for _, f := range fields() {
		if name := f.Tag.Get("env"); strings.HasPrefix(name, "PATCH_") {
			known = append(known, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		upper := strings.ToUpper(name)
		if !strings.HasPrefix(upper, "PATCH_") || slices.Contains(known, name) || kubernetesService.MatchString(name) {
			continue
		}
		if end := strings.IndexFunc(name, notInName); end >= 0 { // what follows may be a secret
			errs = append(errs, &ConfigError{name[:end], "is followed by something other than = and a value"})
			continue
		}
		near := slices.MaxFunc(known, func(a, b string) int { return cmp.Compare(similarity(a, upper), similarity(b, upper)) })
		errs = append(errs, &ConfigError{name, "no such variable; did you mean " + near + "?"})
	}
	return errs
}

// notInName says of a letter that the name of a variable does not have it.
func notInName(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// similarity is the share of the letters of two words that stand in both in the same order, from 0 to 1.
func similarity(a, b string) float64 {
	row := make([]int, len(b)+1) // of the table of longest common subsequences
	for i := range a {
		diagonal := 0
		for j := range b {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return 2 * float64(row[len(b)]) / float64(len(a)+len(b))
}

// duration matches what time.ParseDuration refuses only if it is too long.
var duration = regexp.MustCompile(`^([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+$`)

// translate turns an error of package env, which speaks of Go's fields and quotes the value, into one for the user.
func translate(err error, vars map[string]string, unread map[string]bool) error {
	var parse env.ParseError
	if !errors.As(err, &parse) {
		return &ConfigError{"environment", "could not be read"}
	}
	unread[parse.Name] = true
	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	name := field.Tag.Get("env")
	switch {
	case reflect.PointerTo(field.Type).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return &ConfigError{name, parse.Err.Error()}
	case field.Type != reflect.TypeFor[time.Duration]():
		return &ConfigError{name, "is neither true nor false"}
	case duration.MatchString(vars[name]):
		return &ConfigError{name, "is too long; " + limits(field.Tag)}
	}
	return &ConfigError{name, "is not a duration; write a number with its unit, such as 250ms, 30s or 2m"}
}

// longest is the longest duration that Go knows, in whole hours.
const longest = "2562047h"

// limits tells the limits of a duration.
func limits(tag reflect.StructTag) string {
	text := "it must be from " + tag.Get("least") + " to " + cmp.Or(tag.Get("most"), longest)
	if zero := tag.Get("zero"); zero != "" {
		text = strings.Replace(text, "be", "be 0 ("+zero+") or", 1)
	}
	if reason := tag.Get("reason"); reason != "" {
		text += ": " + reason
	}
	return text
}

// checkLimits holds the durations that could be read against the limits of their fields.
func (c *Config) checkLimits(unread map[string]bool) (errs []error) {
	v := reflect.ValueOf(c).Elem()
	for _, f := range fields() {
		value, isDuration := v.FieldByIndex(f.Index).Interface().(time.Duration)
		if !isDuration || unread[f.Name] || value == 0 && f.Tag.Get("zero") != "" {
			continue
		}
		least, _ := time.ParseDuration(f.Tag.Get("least"))
		most, _ := time.ParseDuration(cmp.Or(f.Tag.Get("most"), longest))
		switch {
		case value < least:
			errs = append(errs, &ConfigError{f.Tag.Get("env"), "is too short; " + limits(f.Tag)})
		case value > most:
			errs = append(errs, &ConfigError{f.Tag.Get("env"), "is too long; " + limits(f.Tag)})
		}
	}
	return errs
}
