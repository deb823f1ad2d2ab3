#include "apply/refused_object.h"

#include "gtest/gtest.h"

namespace walferry {
namespace {

std::string Query(const std::string& kind, const std::string& sql) {
  SchemaObject object;
  object.kind = kind;
  object.sql = sql;
  return QueryOfRefusedRows(object);
}

TEST(RefusedObject, OrphansAreFoundByAllColumnsOfTheForeignKey) {
  EXPECT_EQ(
      Query("FK CONSTRAINT",
            "ALTER TABLE ONLY public.c\n    ADD CONSTRAINT c_p_fkey FOREIGN KEY (p) REFERENCES public.p(id);"
            "\nCOMMENT ON CONSTRAINT c_p_fkey ON public.c IS 'x';"),
      "SELECT r.* FROM public.c r WHERE r.p IS NOT NULL AND NOT EXISTS (SELECT FROM public.p k WHERE r.p = "
      "k.id);");
  EXPECT_EQ(Query("FK CONSTRAINT",
                  "ALTER TABLE s.\"C, (c\"\n    ADD CONSTRAINT k FOREIGN KEY (\"a, b\", x) REFERENCES "
                  "s.\"P (p\"(\"i)\", y) ON DELETE CASCADE;"),
            "SELECT r.* FROM s.\"C, (c\" r WHERE r.\"a, b\" IS NOT NULL AND r.x IS NOT NULL AND NOT EXISTS "
            "(SELECT FROM "
            "s.\"P (p\" k WHERE r.\"a, b\" = k.\"i)\" AND r.x = k.y);");
}

TEST(RefusedObject, DuplicatesAreFoundByTheKey) {
  const std::string found =
      "SELECT a, \"B\", count(*) FROM public.t WHERE a IS NOT NULL AND \"B\" IS NOT NULL GROUP BY a, \"B\" "
      "HAVING "
      "count(*) > 1;";
  EXPECT_EQ(Query("CONSTRAINT", "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k UNIQUE (a, \"B\");"), found);
  EXPECT_EQ(Query("CONSTRAINT",
                  "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a, \"B\") INCLUDE (c);"),
            found);
  EXPECT_EQ(Query("INDEX", "CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a, \"B\");"), found);
}

TEST(RefusedObject, WhatNoSimpleQueryFindsHasNone) {
  EXPECT_EQ(Query("INDEX", "CREATE UNIQUE INDEX i ON public.t USING btree (lower(a));"), "");
  EXPECT_EQ(Query("INDEX", "CREATE UNIQUE INDEX i ON public.t USING btree (a DESC);"), "");
  EXPECT_EQ(Query("INDEX", "CREATE UNIQUE INDEX i ON public.t USING btree (a) WHERE (b > 0);"), "");
  EXPECT_EQ(
      Query("CONSTRAINT", "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k EXCLUDE USING gist (a WITH &&);"),
      "");
}

}  // namespace
}  // namespace walferry
