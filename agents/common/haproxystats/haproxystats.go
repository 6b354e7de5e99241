// Package haproxystats reads the statistics that HAProxy serves as CSV (its Management Guide, section 9.1). Columns are found by name: their
// number grows with each version.
package haproxystats

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
)

// Columns that are read.
const (
	proxyColumn  = "pxname"
	serverColumn = "svname"
	statusColumn = "status"
)

// Server is one server of a backend.
type Server struct {
	Name string
	// Up says whether HAProxy sends it requests.
	Up bool
}

// Parse returns the servers of a backend, in the table's order. A row that is too short to say of which backend it is, or how its server is, is left
// out. The error says what makes the page no table of statistics.
func Parse(page, backend string) ([]Server, error) {
	text, ok := strings.CutPrefix(page, "# ")
	if !ok {
		return nil, errors.New("the answer is no table of statistics")
	}
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = -1 // the last, empty column comes and goes
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("the table of statistics cannot be read: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("the table of statistics is empty")
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	most := 0
	for _, name := range []string{proxyColumn, serverColumn, statusColumn} {
		i, ok := column[name]
		if !ok {
			return nil, fmt.Errorf("the table of statistics has no column %s", name)
		}
		most = max(most, i)
	}
	var servers []Server
	for _, row := range rows[1:] {
		if len(row) <= most || row[column[proxyColumn]] != backend {
			continue
		}
		switch name := row[column[serverColumn]]; name {
		case "", "BACKEND", "FRONTEND":
		default:
			// "UP", or "UP 1/2" on its way down: requests are sent there all the same.
			servers = append(servers, Server{Name: name, Up: strings.HasPrefix(row[column[statusColumn]], "UP")})
		}
	}
	return servers, nil
}
