import unittest

from brooklet_plugin import Reject, fields
from brooklet_plugin.fields import Paths, is_json, split


def found(paths, text):
    text = text.encode() if isinstance(text, str) else text
    return [
        (place.index, text[place.start:place.end].decode(), text[place.member_start:place.member_end].decode())
        for place in Paths(paths).find(text)
    ]


class Fields(unittest.TestCase):
    def test_fields_are_found_where_they_stand_with_what_surrounds_them(self):
        table = [
            (["a"], '{"b": 1, "a": [1, 2] }', [(0, "[1, 2]", ' "a": [1, 2] ')]),
            (["a.b", "a.c"], '{"a":{"c":"x","d":0,"b":null}}', [(1, '"x"', '"c":"x"'), (0, "null", '"b":null')]),
            (["a"], '{"a":1,"a":2}', [(0, "1", '"a":1'), (0, "2", '"a":2')]),
            (["a"], '{"\\u0061":1}', [(0, "1", '"\\u0061":1')]),
            (["a\\.b"], '{"a.b":1,"a":{"b":2}}', [(0, "1", '"a.b":1')]),
            (["a.b"], '{"a":[{"b":1}]}', []),
            (["a.b"], '{"a":"text\\n"}', []),
            (["é"], '{"ü":"{","é":"\\"}","b":"…"}', [(0, '"\\"}"', '"é":"\\"}"')]),
            (["a"], '{"x":{"a":{"}":[]}},"a":-1.50e+2}', [(0, "-1.50e+2", '"a":-1.50e+2')]),
            (["a"], "17.5", []),
        ]
        for paths, text, expected in table:
            with self.subTest(text):
                self.assertEqual(found(paths, text), expected)

    def test_what_is_not_json_is_rejected_wherever_it_stands(self):
        bad = ["", "{", '{"b":tru}', '{"a":1}x', '{"b":"\\x"}', '{"a":"\x01"}', "\ufeff{}", "NaN", '{"\\ud800":1}']
        for text in [*bad, b'"\xff"']:
            with self.subTest(text), self.assertRaises(Reject):
                found(["a"], text)
        # Half a pair in a value that nobody looks at is its author's business.
        self.assertEqual(found(["a"], '{"b":"\\ud800"}'), [])

    def test_both_ways_to_look_agree(self):
        good = ["{}", " [1 , -0.5e-3,true,{\"a\":[]} , \"\\u00e9\\n\"] ", "0", '"x"', "null", "1" * 5000]
        bad = ["", " ", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "[1,]", "[,1]", "[1 2]", "01", "1.", ".5", "+1", "-",
               "[}", "{]", "}", "]", "[1]]", "1 1", "NaN", "-Infinity", "tru", '"\x01"', '"\\x"', '"\\u12"', "'a'",
               '{"a":1 "b":2}', "{1:2}", ":", ","]
        for text in good + bad:
            with self.subTest(text):
                self.assertEqual(is_json(text.encode()), text in good)
                self.assertEqual(fields._is_json_however_deep(text.encode()), text in good)

    def test_a_deep_text_is_no_deep_stack(self):
        deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        self.assertTrue(is_json(deep))
        self.assertFalse(is_json(deep[:-1]))
        self.assertEqual(len(list(Paths(["b"]).find(deep))), 0)

    def test_paths_are_checked(self):
        for path in ["", ".", "a..b", "a.", ".a", "a\\b", "a\\"]:
            with self.subTest(path), self.assertRaises(ValueError):
                split(path)
        for paths in [["a", "a"], ["a.b", "a"], ["a", "a.b"]]:
            with self.subTest(paths), self.assertRaises(ValueError):
                Paths(paths)
        self.assertEqual(split("a\\.b.c\\\\"), ["a.b", "c\\"])


if __name__ == "__main__":
    unittest.main()
