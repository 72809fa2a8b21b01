package postgres

import (
	"slices"
	"strconv"
	"strings"
)

// SettingError reports an environment variable of libpq's that cannot be used.
type SettingError struct {
	Variable string
	Problem  string // never quotes the value
}

func (e *SettingError) Error() string { return e.Variable + ": " + e.Problem }

// ConfigFromEnviron reads the environment variables that libpq reads (PostgreSQL documentation, libpq, Environment
// Variables). The error is a *SettingError.
func ConfigFromEnviron(vars map[string]string) (Config, error) {
	c := Config{
		Host: vars["PGHOST"], Port: vars["PGPORT"], User: vars["PGUSER"], Password: vars["PGPASSWORD"],
		Database: vars["PGDATABASE"], PasswordFile: vars["PGPASSFILE"], Options: vars["PGOPTIONS"],
		SSLMode: vars["PGSSLMODE"], RootCertificates: vars["PGSSLROOTCERT"], Certificate: vars["PGSSLCERT"],
		Key: vars["PGSSLKEY"], KeyPassword: vars["PGSSLPASSWORD"], ChannelBinding: vars["PGCHANNELBINDING"],
	}
	if c.User == "" {
		return c, &SettingError{"PGUSER", "is not set or empty; PGHOST is set, and connecting takes both"}
	}
	for port := range strings.SplitSeq(c.Port, ",") { // one for each host
		if n, err := strconv.ParseUint(port, 10, 16); c.Port != "" && (err != nil || n == 0) {
			return c, &SettingError{"PGPORT", "is no number from 1 to 65535"}
		}
	}
	if hosts, ports := strings.Count(c.Host, ","), strings.Count(c.Port, ","); ports > 0 && ports != hosts {
		return c, &SettingError{"PGPORT", "does not name one port for each host of PGHOST"}
	}
	for _, f := range [][2]string{{"PGSSLROOTCERT", c.RootCertificates}, {"PGSSLCERT", c.Certificate}, {"PGSSLKEY", c.Key}, {"PGPASSFILE", c.passwordFile()}} {
		if err := checkFile(f[1]); err != nil {
			return c, &SettingError{f[0], "names a file that cannot be read: " + err.Error()}
		}
	}
	if (c.Certificate == "") != (c.Key == "") {
		return c, &SettingError{"PGSSLCERT", "goes with PGSSLKEY; set both or neither"}
	}
	if bindings := []string{"", "disable", "prefer", "require"}; !slices.Contains(bindings, c.ChannelBinding) {
		return c, &SettingError{"PGCHANNELBINDING", "is not one of " + strings.Join(bindings[1:], ", ")}
	}
	if c.SSLMode != "" {
		mode, err := ParseSSLMode(c.SSLMode)
		if err != nil {
			return c, &SettingError{"PGSSLMODE", err.Error()}
		}
		c.SSLMode = mode
	}
	return c, nil
}
