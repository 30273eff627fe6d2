from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abcrown_graft import files
from abcrown_graft.errors import ConfigError, DataError, FileFormatError, SettingsDifferError
from abcrown_graft.masks.dump import InstabilityDump, add, empty, load, merge
from abcrown_graft.masks.identity import ModelIdentity

MODEL = ModelIdentity("a" * 64, "b" * 64, {"z": (2, 2), "a": (3,)})
SETTINGS = {"method": "crown", "epsilon": 0.1, "population": "train", "mean": (0.5, 0.5)}


def fresh(grafted=None, **changes) -> InstabilityDump:
    return empty(MODEL, grafted or {}, {**SETTINGS, **changes})


def instability(indices: Sequence[int]) -> dict[str, torch.Tensor]:
    """Some instability of every image, a function of its index alone."""
    flags = [torch.rand(7, generator=torch.Generator().manual_seed(index)) < 0.5 for index in indices]
    stacked = torch.stack(flags) if flags else torch.zeros(0, 7, dtype=torch.bool)
    return {"a": stacked[:, :3], "z": stacked[:, 3:].reshape(-1, 2, 2)}


def dump_of(indices: Sequence[int]) -> InstabilityDump:
    return add(fresh(), indices, instability(indices))


def content(dump: InstabilityDump) -> dict:
    return {
        "model": dump.model,
        "counts": {name: tensor.tolist() for name, tensor in dump.counts.items()},
        "per_image": {name: tensor.tolist() for name, tensor in dump.unstable_per_image.items()},
        "indices": dump.indices.tolist(),
        "grafted": dump.grafted,
        "settings": dump.settings,
    }


def two_images() -> InstabilityDump:
    flags = {
        "z": torch.tensor([[[1, 0], [0, 0]], [[1, 1], [0, 0]]]).bool(),
        "a": torch.tensor([[0, 0, 1], [0, 0, 0]]).bool(),
    }
    return add(fresh(grafted={"z": 2}), [8, 5], flags)


class TestStatistics:
    def test_counts_by_hand_with_images_in_ascending_order(self):
        dump = two_images()
        assert dump.n == 2
        assert dump.indices.tolist() == [5, 8]
        assert dump.counts["z"].tolist() == [[2, 1], [0, 0]]
        assert dump.counts["a"].tolist() == [0, 0, 1]
        assert dump.unstable_per_image["z"].tolist() == [2, 1]
        assert dump.unstable_per_image["a"].tolist() == [0, 1]

    def test_rates_are_shares_of_images(self):
        rates = two_images().rates()
        assert rates.kind == "instability"
        assert rates.values["z"].tolist() == [[1.0, 0.5], [0.0, 0.0]]
        assert rates.provenance["images"] == 2
        assert rates.model == MODEL

    def test_unr_over_all_and_over_ungrafted_neurons(self):
        assert two_images().unr("all") == pytest.approx((2 + 2) / 2 / 7)
        assert two_images().unr("ungrafted") == pytest.approx((2 + 2) / 2 / 5)
        with pytest.raises(ConfigError, match="unknown UNR denominator 'some'; known: all, ungrafted"):
            two_images().unr("some")

    def test_a_wholly_grafted_network_has_unr_zero(self):
        nothing = {name: torch.zeros(1, *shape, dtype=torch.bool) for name, shape in MODEL.sites.items()}
        dump = add(fresh(grafted={"z": 4, "a": 3}), [0], nothing)
        assert dump.unr("ungrafted") == dump.unr("all") == 0.0

    def test_without_images_there_are_no_rates(self):
        for statistic in (fresh().rates, fresh().unr):
            with pytest.raises(DataError, match="no image"):
                statistic()

    @settings(deadline=None, max_examples=50)
    @given(indices=st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True))
    def test_unr_is_the_mean_rate(self, indices):
        dump = dump_of(indices)
        rates = torch.cat([rate.flatten() for rate in dump.rates().values.values()])
        assert dump.unr() == pytest.approx(float(rates.mean()))
        assert 0 <= dump.unr() <= 1


class TestAdd:
    @settings(deadline=None, max_examples=50)
    @given(data=st.data())
    def test_batches_and_their_order_do_not_matter(self, data):
        indices = data.draw(st.lists(st.integers(0, 99), max_size=8, unique=True))
        dump = fresh()
        for index in data.draw(st.permutations(indices)):
            dump = add(dump, torch.tensor([index]), instability([index]))
        assert content(dump) == content(dump_of(indices))

    def test_the_dump_added_to_stays_as_it_is(self):
        before = fresh()
        add(before, [1], instability([1]))
        assert before.n == 0 and not bool(before.counts["z"].any())

    @pytest.mark.parametrize("indices", [[8], [9, 9], [1, 5]])
    def test_an_image_counts_once(self, indices):
        with pytest.raises(DataError, match=r"image [895] would be counted twice"):
            add(two_images(), indices, instability(indices))

    @pytest.mark.parametrize(
        ("unstable", "message"),
        [
            ({"z": torch.zeros(1, 2, 2).bool()}, "missing sites: 'a'"),
            (instability([1, 2]), r"'z' \(2, 2, 2\) instead of \(1, 2, 2\)"),
            ({name: flags.float() for name, flags in instability([1]).items()}, "dtype torch.float32"),
        ],
    )
    def test_instability_that_does_not_fit_is_refused(self, unstable, message):
        with pytest.raises(DataError, match=message):
            add(fresh(), [1], unstable)

    def test_negative_indices_and_unstable_grafted_neurons_are_refused(self):
        with pytest.raises(DataError, match="index -1 is negative"):
            add(fresh(), [-1], instability([1]))
        everything = {name: torch.ones(1, *shape).bool() for name, shape in MODEL.sites.items()}
        with pytest.raises(DataError, match="site 'a': more unstable neurons than the 2 ungrafted ones"):
            add(fresh(grafted={"a": 1}), [1], everything)

    def test_grafted_sites_must_exist(self):
        with pytest.raises(DataError, match="grafted site 'b' is not one of the model's: z, a"):
            fresh(grafted={"b": 1})


class TestMerge:
    @settings(deadline=None, max_examples=50)
    @given(owners=st.lists(st.integers(0, 2), max_size=12))
    def test_commutative_associative_and_equal_to_one_run(self, owners):
        a, b, c = (dump_of([i for i, owner in enumerate(owners) if owner == part]) for part in range(3))
        together = content(dump_of(range(len(owners))))
        assert content(merge(a, merge(b, c))) == content(merge(merge(a, b), c)) == together
        assert content(merge(merge(c, b), a)) == together

    def test_other_settings_are_refused_with_key_and_both_values(self):
        with pytest.raises(SettingsDifferError, match=r"different settings .*: epsilon is 0\.1 and 0\.2"):
            merge(fresh(), fresh(epsilon=0.2))
        with pytest.raises(SettingsDifferError, match="double_fp is not set and True"):
            merge(fresh(), fresh(double_fp=True))
        with pytest.raises(SettingsDifferError, match=r"different grafted .*: z is 0 and 1"):
            merge(fresh(), fresh(grafted={"z": 1}))

    def test_other_models_and_shared_images_are_refused(self):
        other = empty(ModelIdentity("a" * 64, "c" * 64, MODEL.sites), {}, SETTINGS)
        with pytest.raises(SettingsDifferError, match=r"different models .*other weights"):
            merge(fresh(), other)
        with pytest.raises(SettingsDifferError, match="2 images are counted in both dumps, the first is index 3"):
            merge(dump_of([1, 3, 4]), dump_of([4, 2, 3]))


class TestStorage:
    @settings(deadline=None, max_examples=20)
    @given(indices=st.lists(st.integers(0, 10**12), max_size=6, unique=True))
    def test_round_trip(self, tmp_path_factory, indices):
        path = tmp_path_factory.mktemp("dump") / "dump.safetensors"
        dump = dump_of(indices)
        dump.save(path)
        assert content(load(path)) == content(dump)
        assert list(load(path).counts) == ["z", "a"]

    def test_a_loaded_dump_can_be_continued_and_merged(self, tmp_path):
        dump_of([1, 2]).save(tmp_path / "dump.safetensors")
        loaded = load(tmp_path / "dump.safetensors")
        assert content(add(loaded, [0], instability([0]))) == content(dump_of([0, 1, 2]))
        assert content(merge(dump_of([7]), loaded)) == content(dump_of([1, 2, 7]))

    @pytest.mark.parametrize("keep", [0, 6, 0.5, -1])
    def test_a_truncated_file_is_refused(self, tmp_path, keep):
        path = tmp_path / "dump.safetensors"
        two_images().save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
        with pytest.raises(FileFormatError, match=r"dump\.safetensors: not a complete"):
            load(path)

    def test_a_file_of_another_kind_is_refused(self, tmp_path):
        files.save_tensors(tmp_path / "dump.st", "mask", {}, {})
        with pytest.raises(FileFormatError, match="this is a 'mask' file, expected 'instability'"):
            load(tmp_path / "dump.st")

    @pytest.mark.parametrize(
        ("tensor", "value", "message"),
        [
            ("counts/a", [0, 0, 2], "sum to 2, per image to 1"),
            ("counts/a", [0, -1, 2], "a count is negative"),
            ("counts/a", [0, 0, 3], "unstable on 3 of 2 images"),
            ("counts/a", [0, 1], r"'a' \(2,\) instead of \(3,\)"),
            ("counts/a", [0.0, 0.0, 1.0], "expected int64"),
            ("per_image/a", [0, 0], "sum to 1, per image to 0"),
            ("per_image/a", [-1, 2], "a count is negative"),
            ("per_image/z", [3, 0], "more unstable neurons than the 2 ungrafted"),
            ("indices", [5, 5], "counted twice"),
            ("indices", [8, 5], "do not ascend"),
            ("indices", [-5, 5], "negative"),
            ("indices", [[5, 8]], "expected int64"),
            ("indices", [5, 8, 9], r"'z' \(2,\) instead of \(3,\)"),
            ("counts/a", None, "'counts/a' is missing"),
        ],
    )
    def test_a_file_that_contradicts_itself_is_refused(self, tmp_path, tensor, value, message):
        path = tmp_path / "dump.safetensors"
        two_images().save(path)
        tensors, header = files.load_tensors(path, "instability")
        del tensors[tensor]
        if value is not None:
            tensors[tensor] = torch.tensor(value)
        files.save_tensors(path, "instability", tensors, header)
        with pytest.raises(FileFormatError, match=rf"dump\.safetensors: .*{message}"):
            load(path)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("model", None, "model identity"),
            ("settings", None, "header is malformed"),
            ("grafted", [], "header is malformed"),
            ("grafted", {"a": 4}, "4 of 3 neurons grafted"),
        ],
    )
    def test_a_malformed_header_is_refused(self, tmp_path, key, value, message):
        path = tmp_path / "dump.safetensors"
        two_images().save(path)
        tensors, header = files.load_tensors(path, "instability")
        files.save_tensors(path, "instability", tensors, {**header, key: value})
        with pytest.raises(FileFormatError, match=rf"dump\.safetensors: .*{message}"):
            load(path)
