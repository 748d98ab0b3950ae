package authface

import (
	"cmp"
	"fmt"

	"mien/engine"
	"mien/http/dialect"
)

// userBody is somebody who is enrolled. The document shows none.
type userBody struct {
	ExternalUserID string `json:"external_user_id"`
	Status         string `json:"status"` // active or suspended
	CreatedAt      string `json:"created_at"`
	UpdatedAt      string `json:"updated_at"`
}

func userOf(p engine.Person) userBody {
	return userBody{p.ID, string(cmp.Or(p.Status, engine.StatusActive)), stamp(p.Created), stamp(p.Updated)}
}

// userID is a request's external_user_id, which the engine checks. Errors: *dialect.FieldError.
func userID(s *string) (string, error) {
	if s == nil || *s == "" {
		return "", &dialect.FieldError{Field: "external_user_id", Want: "your identifier of the user, as a string"}
	}
	return *s, nil
}

// whom reads a body that names a user, who is the call's person from then on.
func whom(c *dialect.Call) (err error) {
	var b struct {
		ExternalUserID *string `json:"external_user_id"`
	}
	if err := c.DecodeJSON(&b); err != nil {
		return err
	}
	c.Person, err = userID(b.ExternalUserID)
	return err
}

type listBody struct {
	Success bool       `json:"success"`
	Total   int        `json:"total"`
	Limit   int        `json:"limit"`
	Offset  int        `json:"offset"`
	Users   []userBody `json:"users"`
}

func listUsers(c *dialect.Call) (dialect.Answer, error) {
	var b struct {
		Limit  *int `json:"limit"`
		Offset *int `json:"offset"`
	}
	if err := c.DecodeJSON(&b); err != nil {
		return dialect.Answer{}, err
	}
	limit, err := within("limit", b.Limit, engine.DefaultListLimit, 1, engine.MaxListLimit)
	if err != nil {
		return dialect.Answer{}, err
	}
	offset, err := within("offset", b.Offset, 0, 0, engine.MaxListOffset)
	if err != nil {
		return dialect.Answer{}, err
	}
	people, total, err := c.Engine().PeopleAt(c.Ctx, c.Key.Tenant, c.Gallery, offset, limit)
	list := listBody{true, total, limit, offset, make([]userBody, len(people))}
	for i, p := range people {
		list.Users[i] = userOf(p)
	}
	return dialect.JSON(200, list), err
}

// within is a number of a request, or otherwise what it is where there is none. Errors: *dialect.FieldError.
func within(field string, n *int, otherwise, least, most int) (int, error) {
	if n == nil {
		return otherwise, nil
	}
	if *n < least || *n > most {
		return 0, &dialect.FieldError{Field: field, Want: fmt.Sprintf("a whole number from %d to %d", least, most)}
	}
	return *n, nil
}

func getUser(c *dialect.Call) (dialect.Answer, error) {
	if err := whom(c); err != nil {
		return dialect.Answer{}, err
	}
	p, err := c.Engine().Person(c.Ctx, c.Key.Tenant, c.Gallery, c.Person)
	return dialect.JSON(200, struct {
		Success bool     `json:"success"`
		User    userBody `json:"user"`
	}{true, userOf(p)}), err
}

// deleteUser erases a user, with the sessions that are about them.
func deleteUser(c *dialect.Call) (dialect.Answer, error) {
	if err := whom(c); err != nil {
		return dialect.Answer{}, err
	}
	err := c.Engine().DeletePerson(c.Ctx, c.Key.Tenant, c.Gallery, c.Person, engine.WriteOptions{})
	return dialect.JSON(200, struct {
		Success        bool   `json:"success"`
		ExternalUserID string `json:"external_user_id"`
	}{true, c.Person}), err
}
