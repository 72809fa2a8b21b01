package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/prisma"
)

// addLibpqSource adds the source that libpq's variables lead to (PostgreSQL documentation, libpq, Environment Variables).
func (c *Config) addLibpqSource(vars map[string]string) error {
	connection, err := libpqConfig(vars)
	if err != nil {
		return err
	}
	variable := "PGHOST"
	err = c.addSource(connection, "", prisma.PasswordHint(connection.Password, ""))
	var setting *postgres.SettingError
	if errors.As(err, &setting) {
		variable = "PG" + strings.ToUpper(setting.Keyword) // as libpq names its variables
	}
	return problem(variable, err)
}

// libpqConfig returns the configuration, of which postgres.NewTarget checks the rest.
func libpqConfig(vars map[string]string) (c postgres.Config, err error) {
	c = postgres.Config{
		Host: vars["PGHOST"], Port: vars["PGPORT"], User: vars["PGUSER"], Password: vars["PGPASSWORD"],
		Database: vars["PGDATABASE"], PasswordFile: vars["PGPASSFILE"], Options: vars["PGOPTIONS"],
		RootCertificates: vars["PGSSLROOTCERT"], Certificate: vars["PGSSLCERT"], Key: vars["PGSSLKEY"], KeyPassword: vars["PGSSLPASSWORD"],
	}
	if c.RootCertificates == "system" {
		c.SystemRoots, c.RootCertificates = true, ""
	}
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE"} {
		if err := prisma.CheckReplaced(vars[name]); err != nil {
			return c, problem(name, err)
		}
	}
	hosts, ports := strings.Split(c.Host, ","), strings.Split(c.Port, ",")
	for _, host := range hosts {
		if err := postgres.CheckHost(host); err != nil {
			return c, problem("PGHOST", err)
		}
	}
	switch {
	case c.User == "":
		return c, &Error{"PGUSER", "is not set or empty; PGHOST is set, and connecting takes both"}
	case c.Port != "" && slices.ContainsFunc(ports, isNoPort):
		return c, &Error{"PGPORT", "is no number from 1 to 65535"}
	case len(ports) > 1 && len(ports) != len(hosts):
		return c, &Error{"PGPORT", "does not name one port for each host of PGHOST"}
	case (c.Certificate == "") != (c.Key == ""):
		return c, &Error{"PGSSLCERT", "goes with PGSSLKEY; set both or neither"}
	}
	if binding := vars["PGCHANNELBINDING"]; binding != "" {
		err = problem("PGCHANNELBINDING", choose(&c.ChannelBinding, []byte(binding), "disable", "prefer", "require"))
	}
	if mode := vars["PGSSLMODE"]; mode != "" && err == nil {
		c.SSLMode, err = postgres.ParseSSLMode(mode)
		err = problem("PGSSLMODE", err)
	}
	return c, err
}

func isNoPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err != nil || n == 0
}
