"""Packages of which others want a name or two."""

from __future__ import annotations

from pathlib import Path

from tests.fresh import printed

BEGUN = "import sys\nfrom medtrain.launch import imports\nimports.begin()\nimport torch\n"


def package(folder: Path, **files: str) -> None:
    """Write the files of a package `large`."""
    (folder / "large").mkdir()
    for name, text in files.items():
        (folder / "large" / f"{name}.py").write_text(text)


def test_a_package_is_spared_until_more_is_asked_for(tmp_path: Path) -> None:
    package(
        tmp_path,
        __init__="print('whole')\nfrom large.light import Light\nfrom large import heavy\n",
        about="__version__ = '1'\n",
        light="from large import _logger\nclass Light: ...\n",
        heavy="from large.light import Light\nclass Heavy(Light): ...\n",
    )
    script = (
        "from medtrain.launch.spared import spare\n"
        "spare({'no_such_package': {}, 'large': {'Light': '.light', '__version__': '.about'}})\n"
        "import large, large.light\n"
        "from large import Light\n"
        "print(hasattr(large, '__wrapped__'), large.light.Light is Light, large.__version__)\n"
        "from large import heavy\n"
        "print(issubclass(heavy.Heavy, Light), hasattr(large, 'other'))\n"
        "try:\n"
        "    import no_such_package\n"
        "except ImportError as error:\n"
        "    print(error.name)"
    )
    words = ["False", "True", "1", "whole", "True", "False", "no_such_package"]
    assert printed(script, tmp_path).split() == words


def test_a_package_with_names_from_elsewhere_runs_once_and_before_what_lies_in_it(tmp_path: Path) -> None:
    package(
        tmp_path,
        __init__="print('whole')\nfrom large import inner\nfrom large.part import b\n",
        inner="print('inner')\n",
        part="print('part')\na, b = 'its own', 'b'\n",
    )
    (tmp_path / "light.py").write_text("a = 'spared'\n")
    script = (
        "from medtrain.launch.spared import spare, waits\n"
        "spare({'large': {'a': 'light'}, 'large.part': {'a': 'light'}})\n"
        "from large.part import a\n"
        "import large\n"
        "print(a, large.a, waits('large'), waits('large.part'))\n"
        "import large.inner\n"
        "print(waits('large'), waits('large.part'), hasattr(large, 'a'), large.part.a)\n"
        "print(large.inner.__spec__.origin.endswith('inner.py'), large.__spec__.loader is large.__loader__)"
    )
    words = "spared spared True True whole inner part False False False its own True True"
    assert printed(script, tmp_path).split() == words.split()


def test_a_package_that_fails_still_gives_the_names_that_it_is_spared_by(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text("raise RuntimeError('broken')\n")
    (tmp_path / "light.py").write_text("a = 1\n")
    script = (
        "from medtrain.launch.spared import spare\n"
        "spare({'large': {'a': 'light'}})\n"
        "import large\n"
        "for _ in range(2):\n"
        "    print(large.a)\n"
        "    try:\n"
        "        large.b\n"
        "    except RuntimeError as error:\n"
        "        print(error)"
    )
    assert printed(script, tmp_path).split() == ["1", "broken"] * 2


def test_training_steps_do_without_the_compiler_which_comes_when_something_is_compiled() -> None:
    script = BEGUN + (
        "import pytorch_lightning, torchvision\n"
        "from lightning_fabric.wrappers import OptimizedModule\n"
        "layer = torch.nn.Linear(1, 1, bias=False)\n"
        "layer.weight.data.fill_(2.0)\n"
        "steps = torch.optim.SGD(layer.parameters(), lr=0.25)\n"
        "def step(network):\n"
        "    steps.zero_grad()\n"
        "    network(torch.ones(1, 1)).sum().backward()\n"
        "    steps.step()\n"
        "step(layer)\n"
        "print(layer.weight.item(), 'torch._dynamo.config' in sys.modules, isinstance(layer, OptimizedModule))\n"
        "compiled = torch.compile(layer, backend='eager')\n"
        "step(compiled)\n"
        "print(layer.weight.item(), 'torch._dynamo.config' in sys.modules, isinstance(compiled, OptimizedModule))\n"
        "print(isinstance(layer, OptimizedModule), torch._dynamo.OptimizedModule is OptimizedModule)"
    )
    assert printed(script).split() == ["1.75", "False", "False", "1.5", "True", "True", "False", "False"]


def test_what_is_kept_from_the_compiler_before_it_is_there_stays_so() -> None:
    script = BEGUN + (
        "@torch.compiler.disable\n"
        "def apart(x):\n"
        "    return torch.sin(x)\n"
        "@torch.compiler.disable(recursive=False)\n"
        "def around(x):\n"
        "    return torch.exp(x)\n"
        "print(apart.__name__, apart(torch.zeros(1)).item())\n"
        "seen = set()\n"
        "def backend(graph, _):\n"
        "    seen.update(getattr(node.target, '__name__', '') for node in graph.graph.nodes)\n"
        "    return graph.forward\n"
        "whole = torch.compile(lambda x: torch.cos(apart(torch.tan(x))), backend=backend)\n"
        "print(whole(torch.zeros(1)).item(), sorted(seen & {'sin', 'cos', 'tan', 'exp'}))"
    )
    assert printed(script).split() == ["apart", "0.0", "1.0", "['cos',", "'tan']"]


def test_operations_are_counted_as_ever() -> None:
    script = BEGUN + (
        "from torch.utils.flop_counter import FlopCounterMode\n"
        "with FlopCounterMode(display=False) as counter:\n"
        "    torch.ones(2, 3) @ torch.ones(3, 4)\n"
        "print(counter.get_total_flops())"
    )
    assert int(printed(script)) == 2 * 2 * 3 * 4
