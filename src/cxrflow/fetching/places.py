"""Where each collection of ``cxrflow.sources`` is published: the one table that ``fetch`` and ``verify`` read.

Sizes and numbers are those that are published, with who published them; nothing here was measured. docs/fetch.md shows
the same, docs/collections.md what is known to be wrong with the labels.
"""

from cxrflow.fetching.published import ByHand, Git, Http, Kaggle, Listing, PhysioNet, Published, Remote

_NIH = "https://nihcc.box.com/shared/static"
#: NIH's archives: name at Box, MD5 (FAQ_CHESTXRAY.pdf, question 7, in NIH's folder), size in bytes (the server's answer
#: of October 2026, as github.com users report it).
_NIH_ARCHIVES = (
    ("vfk49d74nhbxq3nqjg0900w5nvkorp5c", "fe8ed0a6961412fddcbb3603c11b3698", 2_008_470_987),
    ("i28rlmbvmfjbl8p2n3ril0pptcmcu9d1", "ab07a2d7cbe6f65ddd97b4ed7bde10bf", 3_952_623_504),
    ("f1t00wrtdk94satdfb9olcolqx20z2jp", "2301d03bde4c246388bad3876965d574", 3_929_234_850),
    ("0aowwzs5lhjrceb3qp67ahp0rd1l1etg", "9f1b7f5aae01b13f4bc8e2c44a4b8ef6", 3_838_903_983),
    ("v5e3goj22zr6h8tzualxfsqlqaygfbsn", "1861f3cd0ef7734df8104f2b0309023b", 3_935_496_531),
    ("asi7ikud9jwnkrnkj99jnpfkjdes7l6l", "456b53a8b351afd92a35bc41444c58c8", 3_986_301_172),
    ("jn1b4mw4n6lnh74ovmcjb8y48h8xj07n", "1075121ea20a137b87f290d6a4a5965e", 4_016_328_426),
    ("tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j", "b61f34cec3aa69f295fbb593cbd9d443", 4_018_347_353),
    ("upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj", "442a3caa61ae9b64e61c561294d1e183", 4_111_327_929),
    ("l6nilvfa9cg3s28tqv1qc1olm3gnz54p", "09ec81c4c31e32858ad8cf965c494b74", 4_181_556_296),
    ("hhq8fkdgvcari67vfhs7ppg2w6ni4jze", "499aefc67207a5a97692424cf5dbeed5", 4_187_084_020),
    ("ioqwiy20ihqwyr8pf4c24eazhh281pbu", "dc9fda1757c2de0032b63347a7d2895c", 2_914_187_733),
)
_NLM = "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets"
_JAEGER = (
    "Jaeger et al. 2014, Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, "
    "doi:10.3978/j.issn.2223-4292.2014.11.20"
)
#: PadChest's images that torchxrayvision leaves out: absent from the archives, broken or truncated (its pull request
#: 137, and ``missing`` in its datasets.py).
_PADCHEST = {
    "absent or unreadable where it is published": (
        "216840111366964012819207061112010307142602253_04-014-084.png",
        "216840111366964012989926673512011074122523403_00-163-058.png",
        "216840111366964012959786098432011033083840143_00-176-115.png",
        "216840111366964012558082906712009327122220177_00-102-064.png",
        "216840111366964012339356563862009072111404053_00-043-192.png",
        "216840111366964013076187734852011291090445391_00-196-188.png",
        "216840111366964012373310883942009117084022290_00-064-025.png",
        "216840111366964012283393834152009033102258826_00-059-087.png",
        "216840111366964012373310883942009170084120009_00-097-074.png",
        "216840111366964012819207061112010315104455352_04-024-184.png",
        "216840111366964012819207061112010306085429121_04-020-102.png",
    ),
    "a broken PNG where it is published": (
        "216840111366964012989926673512011083134050913_00-168-009.png",
        "216840111366964012989926673512011151082430686_00-157-045.png",
    ),
    "truncated where it is published": (
        "216840111366964012373310883942009152114636712_00-102-045.png",
        "216840111366964012819207061112010281134410801_00-129-131.png",
        "216840111366964012487858717522009280135853083_00-075-001.png",
        "216840111366964013686042548532013208193054515_02-026-007.png",
        "216840111366964013590140476722013058110301622_02-056-111.png",
        "216840111366964013590140476722013043111952381_02-065-198.png",
        "216840111366964013829543166512013353113303615_02-092-190.png",
        "216840111366964013962490064942014134093945580_01-178-104.png",
    ),
}

PLACES: dict[str, Published] = {
    "covid-chestxray": Published(
        "COVID-19 image data collection",
        "https://github.com/ieee8023/covid-chestxray-dataset",
        "each image its own, in the column license of its table",
        "https://github.com/ieee8023/covid-chestxray-dataset",
        "Cohen et al. 2020, COVID-19 Image Data Collection: Prospective Predictions Are the Future, arXiv:2006.11988",
        Git("https://github.com/ieee8023/covid-chestxray-dataset"),
        images=(673,),  # June 2020; it has grown since
        checksums="git's object names",
    ),
    "figure1": Published(
        "Figure 1 COVID-19 Chest X-ray Dataset Initiative",
        "https://github.com/agchung/Figure1-COVID-chestxray-dataset",
        "research purposes only",
        "https://github.com/agchung/Figure1-COVID-chestxray-dataset#readme",
        "Chung 2020, https://github.com/agchung/Figure1-COVID-chestxray-dataset",
        Git("https://github.com/agchung/Figure1-COVID-chestxray-dataset", "95bb569e55f4110d3b734c0f355340e04e16989a"),
        images=(55,),
        size=14_922_683,
        size_from="the files of that commit",
        checksums="git's object names",
    ),
    "actualmed": Published(
        "Actualmed COVID-19 Chest X-ray Dataset Initiative",
        "https://github.com/agchung/Actualmed-COVID-chestxray-dataset",
        "research purposes only",
        "https://github.com/agchung/Actualmed-COVID-chestxray-dataset#readme",
        "Chung 2020, https://github.com/agchung/Actualmed-COVID-chestxray-dataset",
        Git("https://github.com/agchung/Actualmed-COVID-chestxray-dataset", "27240dd8dec9454bc97f9f3c0c432ef434de2517"),
        images=(238,),
        checksums="git's object names",
    ),
    "hannover": Published(
        "COVID-19 Image Repository of Hannover Medical School",
        "https://github.com/ml-workgroup/covid-19-image-repository",
        "CC BY 3.0",
        "https://github.com/ml-workgroup/covid-19-image-repository/blob/master/LICENSE",
        "Winther et al. 2020, COVID-19 Image Repository, doi:10.6084/m9.figshare.12275009",
        Git("https://github.com/ml-workgroup/covid-19-image-repository", "ad7ab099b425f16e06bba22322336b7d6a732965"),
        images=(243,),
        size=51_829_776,
        size_from="the files of that commit",
        checksums="git's object names",
    ),
    "bimcv-covid19": Published(
        "BIMCV-COVID19+, iterations 1 to 3",
        "https://github.com/BIMCV-CSUSP/BIMCV-COVID-19",
        "research only, not to be passed on",
        "https://github.com/BIMCV-CSUSP/BIMCV-COVID-19/blob/master/BIMCV-COVID19%2B/LICENSE.md",
        "de la Iglesia Vaya et al. 2020, BIMCV COVID-19+: a large annotated dataset, arXiv:2006.01174",
        ByHand(
            (
                "Read the licence, and follow the link to the download on the page of the collection.",
                "Unpack the archives of all subjects into one folder, so that participants.tsv, sub-*/ and "
                "derivatives/EHR/ lie in it.",
            )
        ),
    ),
    "siim-covid19": Published(
        "SIIM-FISABIO-RSNA COVID-19 Detection",
        "https://www.kaggle.com/c/siim-covid19-detection",
        "academic and non-commercial",
        "http://hdl.handle.net/10668/20430",
        "Lakhani et al. 2021, The 2021 SIIM-FISABIO-RSNA Machine Learning COVID-19 Challenge, "
        "doi:10.31219/osf.io/532ek",
        Kaggle("competitions", "siim-covid19-detection"),
        images=(6_334,),
    ),
    "radiography": Published(
        "COVID-19 Radiography Database, version 5",
        "https://www.kaggle.com/tawsifurrahman/covid19-radiography-database",
        "see the page, and those of its origins",
        "https://www.kaggle.com/tawsifurrahman/covid19-radiography-database",
        "Chowdhury et al. 2020, Can AI help in screening viral and COVID-19 pneumonia?, "
        "doi:10.1109/ACCESS.2020.3010287",
        Kaggle("datasets", "tawsifurrahman/covid19-radiography-database", strip="COVID-19_Radiography_Dataset"),
        images=(2_905, 21_165),
    ),
    "kermany": Published(
        "Chest X-Ray Images (Pneumonia)",
        "https://data.mendeley.com/datasets/rscbjbr9sj",
        "CC BY 4.0",
        "https://data.mendeley.com/datasets/rscbjbr9sj",
        "Kermany et al. 2018, Identifying medical diagnoses and treatable diseases by image-based deep learning, "
        "doi:10.1016/j.cell.2018.02.010; the data: doi:10.17632/rscbjbr9sj.2",
        Http(
            (
                Remote(
                    "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
                    "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded",
                    "ChestXRay2017.zip",
                    # Of the copies of three projects, which agree; size likewise.
                    "sha256:13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36",
                    1_235_512_464,
                    unpack="",
                    strip="chest_xray",
                ),
            )
        ),
        images=(5_856,),
        size=1_235_512_464,
        size_from="the archive; JPEG is compressed already",
        checksums="SHA-256 of the archive, and with it of what fetch unpacks",
    ),
    "rsna": Published(
        "RSNA Pneumonia Detection Challenge, stage 2",
        "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
        "any purpose, with attribution",
        "https://www.rsna.org/education/ai-resources-and-training/ai-image-challenge/rsna-pneumonia-detection-challenge-2018",
        "Shih et al. 2019, Augmenting the NIH Chest Radiograph Dataset with Expert Annotations of Possible Pneumonia, "
        "doi:10.1148/ryai.2019180041",
        Kaggle(
            "competitions",
            "rsna-pneumonia-detection-challenge",
            files=(
                Remote(
                    "https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/"
                    "pneumonia-challenge-dataset-mappings_2018.json",
                    "pneumonia-challenge-dataset-mappings_2018.json",
                ),
            ),
        ),
        images=(26_684,),
    ),
    "nih": Published(
        "NIH ChestX-ray14",
        "https://nihcc.app.box.com/v/ChestXray-NIHCC",
        "free with attribution: link to the page, acknowledge the NIH Clinical Center, cite",
        "https://cloud.google.com/healthcare-api/docs/resources/public-datasets/nih-chest",
        "Wang et al. 2017, ChestX-ray8, doi:10.1109/CVPR.2017.369",
        Http(
            (
                Remote(
                    "https://nihcc.app.box.com/index.php?rm=box_download_shared_file&vanity_name=ChestXray-NIHCC"
                    "&file_id=f_219760887468",
                    "Data_Entry_2017_v2020.csv",
                ),
                *(
                    Remote(f"{_NIH}/{name}.gz", f"images_{number:03}.tar.gz", f"md5:{md5}", size, unpack="")
                    for number, (name, md5, size) in enumerate(_NIH_ARCHIVES, start=1)
                ),
            )
        ),
        images=(112_120,),
        size=sum(size for _, _, size in _NIH_ARCHIVES),
        size_from="the archives; PNG is compressed already",
        checksums="MD5 of the archives, and with them of what fetch unpacks",
    ),
    "chexpert": Published(
        "CheXpert",
        "https://stanfordmlgroup.github.io/competitions/chexpert/",
        "research use agreement, not to be passed on",
        "https://stanfordmlgroup.github.io/competitions/chexpert/",
        "Irvin et al. 2019, CheXpert, arXiv:1901.07031",
        ByHand(
            (
                "Read the research use agreement on the page, and register there; a link to the download follows.",
                "Unpack it, so that train.csv, valid.csv, train/ and valid/ lie in the folder (or the four parts as "
                "unpacked).",
            )
        ),
    ),
    "mimic-cxr-jpg": Published(
        "MIMIC-CXR-JPG, version 2.1.0",
        "https://physionet.org/content/mimic-cxr-jpg/2.1.0/",
        "credentialed access (PhysioNet Credentialed Health Data License 1.5.0); not to be passed on",
        "https://physionet.org/content/mimic-cxr-jpg/2.1.0/",
        "Johnson et al. 2024, MIMIC-CXR-JPG 2.1.0, doi:10.13026/jsn5-t979; Johnson et al. 2019, arXiv:1901.07042; "
        "Goldberger et al. 2000, PhysioNet, doi:10.1161/01.CIR.101.23.e215",
        PhysioNet("https://physionet.org/files/mimic-cxr-jpg/2.1.0"),
        images=(377_110,),
        size=570_300_000_000,
        size_from="its page",
        checksums="SHA-256 of every file (SHA256SUMS.txt)",
    ),
    "padchest": Published(
        "PadChest",
        "https://bimcv.cipf.es/bimcv-projects/padchest/",
        "on request: not shared, not re-identified",
        "https://bimcv.cipf.es/bimcv-projects/padchest/",
        "Bustos et al. 2020, PadChest, doi:10.1016/j.media.2020.101797",
        ByHand(
            (
                "Fill in the request on the page; a link to the download follows.",
                "Unpack the archives into folders of their names (0/, 1/, ...) or all into images/, and put "
                "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv (or .csv.gz) beside them.",
            )
        ),
        known=tuple((name, what) for what, names in _PADCHEST.items() for name in names),
    ),
    "vindr-cxr": Published(
        "VinDr-CXR, version 1.0.0",
        "https://physionet.org/content/vindr-cxr/1.0.0/",
        "credentialed access; not to be passed on",
        "https://physionet.org/content/vindr-cxr/1.0.0/",
        "Nguyen et al. 2021, VinDr-CXR 1.0.0, doi:10.13026/3akn-b287; Nguyen et al. 2022, "
        "doi:10.1038/s41597-022-01498-w; Goldberger et al. 2000, PhysioNet, doi:10.1161/01.CIR.101.23.e215",
        PhysioNet("https://physionet.org/files/vindr-cxr/1.0.0"),
        images=(15_000, 18_000),
        checksums="SHA-256 of every file (SHA256SUMS.txt)",
    ),
    "openi": Published(
        "Open-i, chest radiographs of the Indiana Network for Patient Care",
        "https://openi.nlm.nih.gov/faq",
        "CC BY-NC-ND 4.0",
        "https://openi.nlm.nih.gov/faq",
        "Demner-Fushman et al. 2016, Preparing a collection of radiology examinations, doi:10.1093/jamia/ocv080",
        Http(
            (
                Remote(
                    "https://openi.nlm.nih.gov/imgs/collections/NLMCXR_reports.tgz", "NLMCXR_reports.tgz", unpack=""
                ),
                Remote(
                    "https://openi.nlm.nih.gov/imgs/collections/NLMCXR_png.tgz", "NLMCXR_png.tgz", unpack="NLMCXR_png"
                ),
            )
        ),
        images=(7_470,),
        then=(
            "Put indiana_projections.csv of https://www.kaggle.com/datasets/raddar/chest-xrays-indiana-university into "
            "the folder: it alone says which images are lateral, and without it all are left out.",
        ),
    ),
    "montgomery": Published(
        "Montgomery County X-ray set",
        f"{_NLM}/Montgomery-County-CXR-Set/MontgomerySet/index.html",
        "see the page",
        f"{_NLM}/Montgomery-County-CXR-Set/MontgomerySet/index.html",
        _JAEGER,
        Listing(f"{_NLM}/Montgomery-County-CXR-Set/MontgomerySet", ("CXR_png", "ClinicalReadings")),
        images=(138,),
    ),
    "shenzhen": Published(
        "Shenzhen Hospital X-ray set",
        f"{_NLM}/Shenzhen-Hospital-CXR-Set/index.html",
        "see the page",
        f"{_NLM}/Shenzhen-Hospital-CXR-Set/index.html",
        _JAEGER,
        Listing(f"{_NLM}/Shenzhen-Hospital-CXR-Set", ("CXR_png", "ClinicalReadings")),
        images=(662,),
    ),
    "tbx11k": Published(
        "TBX11K",
        "https://github.com/yun-liu/Tuberculosis",
        "the page states none; non-commercial, says torchxrayvision",
        "https://github.com/mlmed/torchxrayvision/blob/master/torchxrayvision/datasets.py",
        "Liu et al. 2020, Rethinking computer-aided tuberculosis diagnosis, doi:10.1109/CVPR42600.2020.00272",
        ByHand(
            (
                "Download it from Google Drive or Baidu, by the links on the page.",
                "Unpack it, so that imgs/ and annotations/json/ lie in the folder.",
            )
        ),
        images=(8_400,),
    ),
    "covidx": Published(
        "COVIDx, versions 5 to 9",
        "https://github.com/lindawangg/COVID-Net",
        "those of its origins",
        "https://github.com/lindawangg/COVID-Net/blob/master/docs/COVIDx.md",
        "Wang, Lin and Wong 2020, COVID-Net, doi:10.1038/s41598-020-76550-z",
        ByHand(
            (
                "Choose one of the versions 5 to 9 on https://www.kaggle.com/datasets/andyczhao/covidx-cxr2 (later "
                "ones have other lists, and are not read), and download it; or make it with the scripts of the page.",
                "Unpack it, so that train/, test/ and the lists (train_COVIDx9A.txt, test_COVIDx9A.txt) lie in the "
                "folder.",
            )
        ),
    ),
}
