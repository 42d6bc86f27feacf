-- A decision by its id, or the beginning of it, whatever session it is of.

CREATE INDEX decision_by_id ON decision (id);
