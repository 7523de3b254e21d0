"""What a person sees on a terminal: colours, remarks, progress; and what turns them off."""
import os
import pty
import subprocess
import threading
import unittest

from harness import ROOT, model


def seen(*arguments, **variables):
    """What the binary prints on a terminal: standard output and standard error."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "COLUMNS": "100"} | variables
    parts = []

    def read():
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    command = [os.environ["APR"], *(str(argument) for argument in arguments)]
    code = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=False).returncode
    os.close(theirs)
    reader.join()
    os.close(ours)
    return code, b"".join(parts).decode()


class Terminal(unittest.TestCase):
    def test_help_is_coloured_unless_that_is_unwanted(self):
        self.assertIn("\x1b[", seen("--help")[1])
        self.assertNotIn("\x1b[", seen("--help", NO_COLOR="1")[1])
        code, wrong = seen("inpsect")
        self.assertEqual(code, 2)
        self.assertIn("\x1b[", wrong)
        self.assertNotIn("\x1b[", seen("inpsect", NO_COLOR="1")[1])

    def test_quiet_leaves_the_result_alone(self):
        run = ("run", model("tiny-llama"), "-p", "The capital of France is", "-n", "8")
        code, loud = seen(*run)
        self.assertEqual(code, 0)
        self.assertIn("[8 tokens", loud)
        code, quiet = seen(*run, "--quiet")
        self.assertEqual(code, 0)
        self.assertNotIn("[8 tokens", quiet)
        self.assertIn("Paris", quiet)

    def test_progress_of_a_second_is_shown_unless_that_is_unwanted(self):
        text = ROOT / "tests" / "data" / "heldout.txt"
        # The slowest table and one thread: long enough for a bar.
        evaluate = ("eval", model("tiny-qwen2"), "--text", text, "--threads", "1")
        slow = {"APR_KERNELS": "scalar"}
        self.assertIn("evaluating", seen(*evaluate, **slow)[1])
        self.assertNotIn("evaluating", seen(*evaluate, "--quiet", **slow)[1])

    def test_errors_are_told_even_so(self):
        code, said = seen("inspect", "/no/such/file", "--quiet")
        self.assertEqual(code, 1)
        self.assertIn("No such file", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
