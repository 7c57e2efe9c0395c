"""Make a raw data asset to analyse: a short invented recording with complete AIND metadata.

Run it to get an input for the other examples::

    python examples/make_input.py data

A mouse watches gratings of eight orientations on a running disc while twelve units are recorded.
Everything is drawn from a seeded generator: no animal and no person is behind these files, and
the same arguments always write the same bytes.
"""

from __future__ import annotations

import argparse
import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from aind_data_schema.components import configs, devices, subjects, surgery_procedures
from aind_data_schema.components.coordinates import CoordinateSystemLibrary, Translation
from aind_data_schema.components.identifiers import Code, Person
from aind_data_schema.components.subject_procedures import Surgery
from aind_data_schema.core import acquisition, processing, quality_control
from aind_data_schema.core.data_description import DataDescription, Funding
from aind_data_schema.core.instrument import Instrument
from aind_data_schema.core.procedures import Procedures
from aind_data_schema.core.subject import Subject
from aind_data_schema_models.brain_atlas import CCFv3
from aind_data_schema_models.coordinates import AnatomicalRelative
from aind_data_schema_models.data_name_patterns import DataLevel, Group, build_data_name
from aind_data_schema_models.devices import ProbeModel
from aind_data_schema_models.licenses import License
from aind_data_schema_models.modalities import Modality
from aind_data_schema_models.organizations import Organization
from aind_data_schema_models.process_names import ProcessName
from aind_data_schema_models.species import Species, Strain
from aind_data_schema_models.stimulus_modality import StimulusModality
from aind_data_schema_models.units import SizeUnit

ORIENTATIONS = [22.5 * step for step in range(8)]
REPEATS = 12
GREY_S, GRATING_S = 1.0, 2.0
RECORDING_S = len(ORIENTATIONS) * REPEATS * (GREY_S + GRATING_S)
UNITS = 12
SPEED_HZ = 10

EXPERIMENTER = "Sample Scientist"
CODE_HOST, PIPELINE = "https://github.com/example-lab", "session-upload"
MODALITIES = [Modality.ECEPHYS, Modality.BEHAVIOR]
BREGMA = CoordinateSystemLibrary.BREGMA_ARI
MANIPULATOR_AXES = CoordinateSystemLibrary.MPM_MANIP_RFB
# Names that the instrument defines and the acquisition refers to.
INSTRUMENT_ID = "EXAMPLE-EPHYS-1"
ASSEMBLY, MANIPULATOR, PROBE = "Ephys Assembly A", "Manipulator A", "Probe A"
BASESTATION, DISC, MONITOR = "Basestation", "Running Disc", "Monitor"


class Recording(NamedTuple):
    """What was recorded: one table a file."""

    gratings: list[tuple[float, float, float]]  # start_s, stop_s, orientation_deg
    speeds: list[tuple[float, float]]  # time_s, speed_cm_s
    spikes: list[tuple[int, float]]  # unit_id, time_s


def preferred_orientation(unit_id: int) -> float:
    """Return the orientation a unit answers to most, in degrees: what an analysis should find."""
    return 180.0 * unit_id / UNITS


def simulate_recording(random: Random) -> Recording:
    """Draw one session: gratings in random order, running, and the spikes of each unit."""
    angles = ORIENTATIONS * REPEATS
    random.shuffle(angles)
    period = GREY_S + GRATING_S
    gratings = [(n * period + GREY_S, (n + 1) * period, angle) for n, angle in enumerate(angles)]
    speeds = [(0.0, 0.0)]
    for sample in range(1, int(RECORDING_S * SPEED_HZ)):
        speed = max(0.0, 0.98 * speeds[-1][1] + random.gauss(0.1, 1.5))
        speeds.append((sample / SPEED_HZ, speed))
    spikes = []
    for unit in range(UNITS):
        for start, stop, angle in gratings:
            difference = math.radians(angle - preferred_orientation(unit))
            tuning = math.exp(2.0 * (math.cos(2.0 * difference) - 1.0))
            gain = 1.0 + 0.02 * speeds[int(start * SPEED_HZ)][1]  # running raises the response
            evoked = 1.5 + 11.0 * gain * tuning
            for begin, end, rate in ((start - GREY_S, start, 1.5), (start, stop, evoked)):
                time = begin + random.expovariate(rate)
                while time < end:
                    spikes.append((unit, time))
                    time += random.expovariate(rate)
    return Recording(gratings, speeds, spikes)


def write_recording(recording: Recording, folder: Path) -> None:
    """Write the three tables as CSV files below a folder."""
    gratings, speeds, spikes = recording
    for name, header, row, table in (
        ("stimulus/gratings", "start_s,stop_s,orientation_deg", "%.1f,%.1f,%.1f", gratings),
        ("behavior/running_speed", "time_s,speed_cm_s", "%.1f,%.3f", speeds),
        ("units/spike_times", "unit_id,time_s", "%d,%.4f", spikes),
    ):
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [header, *(row % values for values in table), ""]
        path.write_text("\n".join(lines), encoding="ascii", newline="\n")


def describe_data(name: str, subject_id: str, start: datetime) -> DataDescription:
    """Say what the asset is, whose it is, and how it may be used."""
    return DataDescription(
        name=name,
        data_level=DataLevel.RAW,
        subject_id=subject_id,
        creation_time=start,
        institution=Organization.AIND,
        funding_source=[Funding(funder=Organization.AI)],
        investigators=[Person(name="Example Researcher")],
        project_name="Synthetic orientation tuning",
        modalities=MODALITIES,
        group=Group.EPHYS,
        license=License.CC_BY_40,
        tags=["synthetic", "orientation tuning"],
        data_summary="Invented responses of visual cortex to gratings, for examples and tests.",
    )


def describe_subject(subject_id: str) -> Subject:
    """Describe the mouse; the same for all sessions of one subject."""
    return Subject(
        subject_id=subject_id,
        subject_details=subjects.MouseSubject(
            species=Species.HOUSE_MOUSE,
            strain=Strain.C57BL_6J,
            genotype="wt/wt",
            sex=subjects.Sex.FEMALE,
            date_of_birth=date(2025, 10, 6),
            source=Organization.JAX,
        ),
        notes="Invented; no real animal.",
    )


def describe_procedures(subject_id: str) -> Procedures:
    """Describe the surgery; the same for all sessions of one subject."""
    craniotomy = surgery_procedures.Craniotomy(
        craniotomy_type=surgery_procedures.CraniotomyType.CIRCLE,
        coordinate_system_name=BREGMA.name,
        position=Translation(translation=[-3.4, -2.7, 0.0]),
        size=3.0,
        size_unit=SizeUnit.MM,
    )
    surgery = Surgery(
        start_date=date(2026, 1, 12),
        experimenters=[EXPERIMENTER],
        global_coordinate_system=BREGMA,
        anaesthesia=surgery_procedures.Anaesthetic(anaesthetic_type="isoflurane", duration=95),
        procedures=[surgery_procedures.Headframe(headframe_type="Visual cortex"), craniotomy],
    )
    return Procedures(
        subject_id=subject_id, global_coordinate_system=BREGMA, subject_procedures=[surgery]
    )


def describe_instrument() -> Instrument:
    """Describe the rig: a probe and its base station, a monitor and a running disc."""
    maker = Organization.NEW_SCALE_TECHNOLOGIES
    assembly = devices.EphysAssembly(
        name=ASSEMBLY,
        manipulator=devices.Manipulator(name=MANIPULATOR, manufacturer=maker),
        probes=[devices.EphysProbe(name=PROBE, probe_model=ProbeModel.NP1)],
    )
    basestation = devices.NeuropixelsBasestation(
        name=BASESTATION,
        basestation_firmware_version="2.0137",
        bsc_firmware_version="3.2176",
        slot=2,
        ports=[devices.ProbePort(index=1, probes=[PROBE])],
    )
    monitor = devices.Monitor(
        name=MONITOR,
        manufacturer=Organization.ASUS,
        refresh_rate=60,
        width=1920,
        height=1200,
        viewing_distance=15,
        relative_position=[AnatomicalRelative.RIGHT],
        local_coordinate_system=CoordinateSystemLibrary.SIPE_MONITOR_RTF,
        transform=[Translation(translation=[80.0, 120.0, 20.0])],
    )
    return Instrument(
        instrument_id=INSTRUMENT_ID,
        modification_date=date(2026, 1, 5),
        modalities=MODALITIES,
        global_coordinate_system=BREGMA,
        components=[assembly, basestation, monitor, devices.Disc(name=DISC, radius=8.5)],
    )


def describe_acquisition(
    subject_id: str, start: datetime, end: datetime
) -> acquisition.Acquisition:
    """Say what was recorded from when to when, with which devices, during which stimulus."""
    manipulator = configs.ManipulatorConfig(
        device_name=MANIPULATOR,
        local_coordinate_system=MANIPULATOR_AXES,
        local_axis_positions=Translation(translation=[5.2, 6.1, 9.8]),
    )
    probe = configs.ProbeConfig(
        device_name=PROBE,
        primary_targeted_structure=CCFv3.VISP,
        local_coordinate_system=MANIPULATOR_AXES,
        transform=[Translation(translation=[-3.4, -2.7, 1.2])],
    )
    assembly = configs.EphysAssemblyConfig(
        device_name=ASSEMBLY, manipulator=manipulator, probes=[probe]
    )
    stream = acquisition.DataStream(
        stream_start_time=start,
        stream_end_time=end,
        modalities=MODALITIES,
        active_devices=[ASSEMBLY, PROBE, BASESTATION, DISC],
        configurations=[assembly],
    )
    stimulus = acquisition.StimulusEpoch(
        stimulus_start_time=start,
        stimulus_end_time=end,
        stimulus_name="Gratings",
        stimulus_modalities=[StimulusModality.VISUAL],
        code=Code(url=f"{CODE_HOST}/grating-stimulus", version="1.2.0"),
        active_devices=[MONITOR],
    )
    return acquisition.Acquisition(
        subject_id=subject_id,
        acquisition_start_time=start,
        acquisition_end_time=end,
        acquisition_type="Orientation tuning",
        experimenters=[EXPERIMENTER],
        instrument_id=INSTRUMENT_ID,
        global_coordinate_system=BREGMA,
        data_streams=[stream],
        stimulus_epochs=[stimulus],
        subject_details=acquisition.AcquisitionSubjectDetails(mouse_platform_name=DISC),
    )


def describe_processing(end: datetime) -> processing.Processing:
    """Say what was done before the data were stored: two steps, the second on the first."""

    def step(
        kind: ProcessName, repository: str, minutes: tuple[int, int], **facts: Any
    ) -> processing.DataProcess:
        return processing.DataProcess(
            process_type=kind,
            stage=processing.ProcessStage.PROCESSING,
            experimenters=[EXPERIMENTER],
            pipeline_name=PIPELINE,
            code=Code(url=f"{CODE_HOST}/{repository}", version="1.0.3"),
            start_date_time=end + timedelta(minutes=minutes[0]),
            end_date_time=end + timedelta(minutes=minutes[1]),
            **facts,
        )

    conversion, sorting = ProcessName.FILE_FORMAT_CONVERSION, ProcessName.SPIKE_SORTING
    convert = step(conversion, "session-to-csv", (12, 14), notes="Wrote behavior and stimulus.")
    sort = step(sorting, "threshold-sorter", (15, 26), output_path="units")
    pipeline = Code(url=f"{CODE_HOST}/{PIPELINE}", name=PIPELINE, version="2.1.0")
    return processing.Processing(
        pipelines=[pipeline],
        data_processes=[convert, sort],
        dependency_graph={convert.name: [], sort.name: [convert.name]},
    )


def judge_quality(recording: Recording, when: datetime) -> quality_control.QualityControl:
    """Judge the recording by three numbers."""

    def metric(
        name: str, modality: Any, device: str, value: float, rule: str, passed: bool
    ) -> quality_control.QCMetric:
        status = quality_control.Status.PASS if passed else quality_control.Status.FAIL
        judged = quality_control.QCStatus(evaluator="Automated", status=status, timestamp=when)
        return quality_control.QCMetric(
            name=name,
            modality=modality,
            stage=quality_control.Stage.RAW,
            value=round(value, 3),
            description=rule,
            tags={"device": device},
            status_history=[judged],
        )

    rate = len(recording.spikes) / UNITS / RECORDING_S
    top = max(speed for _, speed in recording.speeds)
    metrics = [
        metric("Unit count", Modality.ECEPHYS, PROBE, UNITS, "At least 5", UNITS >= 5),
        metric("Firing rate", Modality.ECEPHYS, PROBE, rate, "0.5 to 50 per s", 0.5 < rate < 50),
        metric("Top speed", Modality.BEHAVIOR, DISC, top, "Below 100 cm/s", top < 100),
    ]
    control = quality_control.QualityControl(metrics=metrics, default_grouping=["device"])
    # The schema fills this from sets, whose order differs from one run of Python to the next.
    control.status = dict(sorted(control.status.items()))
    return control


def make_session(
    data_root: Path,
    *,
    subject_id: str = "900101",
    start: datetime = datetime(2026, 3, 2, 18, 30, 5, tzinfo=UTC),
    seed: int = 0,
    mount: str | None = None,
) -> Path:
    """Write one raw recording session below data_root and return its folder.

    Parameters
    ----------
    data_root
        The folder that holds data assets, like ``/data`` in a capsule.
    subject_id
        The mouse; digits, without underscores.
    start
        When the recording began: with a time zone, and after the mouse's surgery on 2026-01-12.
    seed
        Another seed draws another recording under the same name.
    mount
        Name of the asset's folder, where that is not the asset's own name.
    """
    name = build_data_name(f"ecephys_{subject_id}", start)
    end = start + timedelta(seconds=RECORDING_S)
    recording = simulate_recording(Random(f"{name} {seed}"))
    folder = Path(data_root, mount or name)
    write_recording(recording, folder)
    for part in (
        describe_data(name, subject_id, start),
        describe_subject(subject_id),
        describe_procedures(subject_id),
        describe_instrument(),
        describe_acquisition(subject_id, start, end),
        describe_processing(end),
        judge_quality(recording, end + timedelta(minutes=30)),
    ):
        part.write_standard_file(output_directory=folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make one invented raw recording session.")
    parser.add_argument("data_root", nargs="?", type=Path, default=Path("data"))
    folder = make_session(parser.parse_args().data_root)
    print(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"  {path.relative_to(folder).as_posix():<28}{path.stat().st_size:>10,} bytes")


if __name__ == "__main__":
    main()
