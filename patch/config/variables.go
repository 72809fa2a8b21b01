package config

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// kubernetesService matches the variables that Kubernetes injects for a Service whose name begins with "patch"
// (Kubernetes documentation, Service, Environment variables).
var kubernetesService = regexp.MustCompile(`^PATCH_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables returns an error for each PATCH_ variable that the program does not have, so that a typing error never
// means the default.
func unknownVariables(vars map[string]string) (errs []error) {
	var known []string
	for _, v := range variableHelp {
		if strings.HasPrefix(v.name, "PATCH_") {
			known = append(known, v.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		upper := strings.ToUpper(name)
		if !strings.HasPrefix(upper, "PATCH_") || slices.Contains(known, name) || kubernetesService.MatchString(name) {
			continue
		}
		if end := strings.IndexFunc(name, notInName); end >= 0 { // what follows may be a secret
			errs = append(errs, &Error{name[:end], "is followed by something other than = and a value"})
			continue
		}
		nearest := slices.MaxFunc(known, func(a, b string) int { return cmp.Compare(similarity(a, upper), similarity(b, upper)) })
		errs = append(errs, &Error{name, "no such variable; did you mean " + nearest + "?"})
	}
	return errs
}

// notInName reports whether r cannot be part of the name of a variable.
func notInName(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// similarity returns twice the length of the longest common subsequence of a and b divided by the sum of their lengths: 1
// for equal words, 0 for words without a common letter.
func similarity(a, b string) float64 {
	row := make([]int, len(b)+1) // of the table of lengths
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
